"""What is said at once: nothing that takes seconds to load is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {
    "torch", "torchvision", "deepinv", "scipy", "skimage", "compressai", "onnxruntime", "pandas", "distributed", "matplotlib", "rasterio",
}  # fmt: skip
SAMPLE = Path(__file__).parents[2] / "data" / "pleiades_like_pan.tif"
FILES = {"SAMPLE": SAMPLE, "README": SAMPLE.parents[1] / "README.md"}
SAID = {
    "--help": "--sensor",
    "--list-sensors": "worldview3",
    "--list-priors": "--method wcrr",
    "--describe-sensor pleiades": "MTF at Nyquist",
    "--input missing.tif --sensor pleiades": "missing.tif does not exist",
    "--input SAMPLE --sensor plaides": "did you mean pleiades?",
    "--input SAMPLE": "a sensor is needed",
    "--input SAMPLE --sensor pleiades --method x": "unknown method 'x'",
    "--input SAMPLE --sensor pleiades --output a.png": "a name that ends in .tif",
    "--input SAMPLE --sensor pleiades --output no/a.tif": "the output folder no does not exist",
    "--input SAMPLE --sensor pleiades --output SAMPLE": "is the input itself",
    "--input SAMPLE --sensor pleiades --prior pann": "did you mean pan?",
    "--input SAMPLE --sensor pleiades --method wcrr --prior nothing": "unknown regulariser 'nothing'",
    "--input SAMPLE --sensor pleiades --method tv --std s.tif": "tv is a point estimate without standard deviations",
    "--input SAMPLE --sensor pleiades --samples 2": "no folder for them",
    f"--input {300 * 'a'}.tif --sensor pleiades": "is too long",
    f"--input SAMPLE --sensor {300 * 'a'}": "is too long",
    f"--input SAMPLE --sensor pleiades --method vble-xz --prior {300 * 'a'}": "is too long",
    "--input SAMPLE --sensor pleiades --tile 100": "accepted are multiples of 32",
    "--input SAMPLE --sensor pleiades --method gaussian": "gaussian fuses bundles; add --pan PAN.tif or --pansharpen",
    "--input SAMPLE --sensor pleiades --pan-shift none": "--pan-shift is for bundles",
    "--input SAMPLE --sensor pleiades --pansharpen": "is no product as delivered",
    "--input SAMPLE --sensor pleiades --pan missing.tif": "missing.tif does not exist",
    "--input SAMPLE --sensor pleiades --pan SAMPLE": "is given as the multispectral scene and as the panchromatic one",
    "--input SAMPLE --pan README": "a sensor is needed",
    "--input SAMPLE --sensor estimate --pan README": "sensors of a bundle cannot be estimated",
    "--input SAMPLE --sensor pleiades --pan README --scale 2": "--scale 2 does not apply to bundles",
    "--input SAMPLE --sensor pleiades --pan README --method vble": "unknown method 'vble' of bundles",
    "--input SAMPLE --sensor pleiades --pan README --prior nothing": "unknown inference network of bundles 'nothing'",
    "--input SAMPLE --sensor pleiades --pan README --output README": "is the input itself",
}
SUPERRES = {
    "--help": "--model",
    "--input missing.tif": "missing.tif does not exist",
    f"--input {300 * 'a'}.tif": "is too long",
    "--input SAMPLE --model nothing": "unknown super-resolution model 'nothing'",
    "--input SAMPLE --scale 4 --output a.png": "a name that ends in .tif",
}


def loaded(folder: Path, command: str, line: str) -> tuple[set[str], str]:
    """Top-level modules that a command loads in a process of its own, and what it says."""
    code = (
        f"import sys; from imaging.cli.{command} import main\n"
        "try: main(sys.argv[1:], standalone_mode=True)\n"
        "finally: print('\\nLOADED', *{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    arguments = [str(FILES.get(word, word)) for word in line.split()]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
    )
    said, _, modules = done.stderr.rpartition("LOADED")
    assert done.returncode == (2 if "--input" in line else 0), said
    return set(modules.split()), done.stdout + said


@pytest.mark.parametrize(
    ("command", "line", "said"), [("restore", *p) for p in SAID.items()] + [("superres", *p) for p in SUPERRES.items()]
)
def test_what_needs_no_library_waits_for_none(tmp_path: Path, command: str, line: str, said: str) -> None:
    modules, text = loaded(tmp_path, command, line)
    assert said in text
    assert "imaging" in modules
    assert not modules & SLOW


def test_a_band_that_is_not_there_needs_the_scene_alone(tmp_path: Path) -> None:
    modules, text = loaded(tmp_path, "restore", "--input SAMPLE --sensor pleiades --bands 7")
    assert "band 7 of" in text
    assert modules & SLOW == {"rasterio"}
