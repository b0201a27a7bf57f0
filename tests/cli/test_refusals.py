"""Input that cannot be used: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio.shutil
import torch

from tests.cli.commands import restore, sentence
from tests.scenes import listing, smooth, write_scene

PAN = smooth(1, 64, 64).astype(np.uint16)


def refusal(folder: Path, scene: Path, prior: Path, *arguments: object) -> str:
    """The sentence of a command that must leave the folder as it was."""
    before = listing(folder)
    said = sentence(restore(scene, prior, *arguments))
    assert listing(folder) == before
    return said


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", PAN)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "readme.txt").write_text("no raster")


def _folder_with_rasters(path: Path) -> None:
    path.mkdir()
    write_scene(path / "one.tif", PAN)


def _short_header(path: Path) -> None:
    write_scene(path, PAN)
    path.write_bytes(path.read_bytes()[:20])


def _no_columns(path: Path) -> None:
    """A TIFF of 0 x 1 pixels: width, length, bits, compression, photometric, strip offset, rows per strip and byte count."""
    entries = ((256, 0), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1), (279, 1))
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + fields + struct.pack("<I", 0))


def _palette(path: Path) -> None:
    write_scene(path, PAN.astype(np.uint8), photometric="palette")
    with rasterio.open(path, "r+") as target:
        target.write_colormap(1, {0: (0, 0, 0, 255), 9: (255, 0, 0, 255)})


INPUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda p: None, "does not exist"),
    "folder": (_folder, "names no raster; accepted are products and files ending in"),
    "folder with rasters": (_folder_with_rasters, "names several scenes; give the folder of their restored scenes with --output"),
    "text": (lambda p: p.write_text("not a raster"), "is not a raster that can be read"),
    "empty file": (lambda p: p.write_bytes(b""), "is not a raster that can be read"),
    "truncated header": (_short_header, "is not a raster that can be read"),
    "no columns": (_no_columns, "is not a raster that can be read"),
    "complex": (lambda p: write_scene(p, PAN.astype(np.complex64)), "holds complex numbers (complex64); give its intensity"),
    "palette": (_palette, "has a colour table"),
    "uint32": (lambda p: write_scene(p, PAN.astype(np.uint32)), "holds uint32; accepted are"),
    "all nodata": (lambda p: write_scene(p, np.zeros_like(PAN), nodata=0), "has no valid pixel"),
    "8-bit": (lambda p: write_scene(p, (PAN / 16).astype(np.uint8)), "the scene is 8-bit, sensor pleiades-raw describes 12-bit values"),
    "seven bands": (lambda p: write_scene(p, np.repeat(PAN, 7, 0)), "the scene has 7 bands, sensor pleiades-raw has PAN, B0, B1, B2, B3"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_that_cannot_be_restored(tmp_path: Path, tiny_prior: Path, kind: str) -> None:
    make, expected = INPUTS[kind]
    path = tmp_path / "scene.tif"
    make(path)
    said = refusal(tmp_path, path, tiny_prior)
    assert expected in said
    assert (str(path) in said) == (kind not in {"8-bit", "seven bands"}), "the sentence names the file, where the sensor is not to blame"


@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_file_cut_short(tmp_path: Path, tiny_prior: Path, kept: float) -> None:
    """It opens, and fails when its last strips are read: by the first look at the scene, or by a later tile."""
    path = write_scene(tmp_path / "scene.tif", smooth(1, 200, 64).astype(np.uint16), blockysize=8)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with rasterio.open(path) as source:
        assert source.height == 200
    assert "the file is damaged or cut short" in refusal(tmp_path, path, tiny_prior)


def test_damage_that_shows_only_after_some_tiles(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scene(tmp_path / "scene.tif", smooth(1, 200, 64).astype(np.uint16), blockysize=8)
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr("imaging.raster.Scene.sample", lambda s: [(PAN.astype(np.float32), np.ones(PAN.shape, bool))])
    assert "cannot be read at row" in refusal(tmp_path, path, tiny_prior)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sensor", "pleiades-rw"], "unknown sensor 'pleiades-rw'; did you mean pleiades-raw?"),
        (["--sensor", "missing.toml"], "sensor file missing.toml does not exist"),
        (["--prior", "pan-smal"], "unknown prior 'pan-smal'"),
        (["--bands", "4"], "band 4 of"),
        (["--output", "nowhere/out.tif"], "the output folder nowhere does not exist; create it"),
        (["--output", "/proc/out.tif"], "the output folder /proc cannot be written to"),
        (["--std", "/proc/std.tif"], "the output folder /proc cannot be written to"),
        (["--device", "tpu"], "device is 'tpu'; accepted are auto, cpu and cuda"),
        (["--tile", "10"], "tile is 10; accepted are integers from 64"),
        (["--halo", "40"], "the halo is 40; accepted are multiples of 16 from 0"),
        (["--tile", "100"], "the tile size is 100; accepted are multiples of 32"),
        (["--scale", "3"], "the scale is 3; accepted are 1"),
        (["--iterations", "0"], "iterations is 0; accepted are integers from 1"),
        (["--batch", "0"], "the batch is 0"),
        (["--method", "mcmc"], "unknown method 'mcmc'"),
        (["--mtf-nyquist", "1.5"], "the MTF at Nyquist is 1.5; accepted are numbers above 0"),
        (["--noise", "0,0"], "the noise is 0,0; accepted are two numbers, not negative and not both zero"),
        (["--samples", "2"], "2 samples are asked for but no folder for them; add --save-samples DIR"),
        (["--samples", "2", "--save-samples", "nowhere"], "the output folder nowhere does not exist"),
        (["--std", "s.tif", "--no-uncertainty"], "--std and --no-uncertainty exclude each other"),
        (["--reference", "missing.tif"], "missing.tif does not exist"),
    ],
)
def test_settings_that_cannot_be_used(scene: Path, tiny_prior: Path, arguments: list[str], expected: str) -> None:
    assert expected in refusal(scene.parent, scene, tiny_prior, *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device(scene: Path, tiny_prior: Path) -> None:
    assert "no CUDA device is available on this machine" in refusal(scene.parent, scene, tiny_prior, "--device", "cuda")


def test_no_sensor(scene: Path) -> None:
    from tests.cli.commands import invoke

    assert "a sensor is needed: --sensor NAME or --sensor FILE.toml" in sentence(invoke("--input", scene))


def test_a_file_as_output_folder(scene: Path, tiny_prior: Path) -> None:
    (scene.parent / "file").write_text("")
    assert "does not exist" in refusal(scene.parent, scene, tiny_prior, "--output", scene.parent / "file" / "out.tif")


def test_a_folder_as_output(scene: Path, tiny_prior: Path) -> None:
    (scene.parent / "out.tif").mkdir()
    assert "is a folder; give the name of a file" in refusal(scene.parent, scene, tiny_prior, "--output", scene.parent / "out.tif")


@pytest.mark.parametrize("option", ["--output", "--std"])
@pytest.mark.parametrize("way", ["name", "symlink", "detour"])
def test_the_input_as_output(scene: Path, tiny_prior: Path, option: str, way: str) -> None:
    (scene.parent / "link.tif").symlink_to(scene)
    (scene.parent / "sub").mkdir()
    target = {"name": scene, "symlink": scene.parent / "link.tif", "detour": scene.parent / "sub" / ".." / scene.name}[way]
    for overwrite in ([], ["--overwrite"]):
        assert "is the input itself" in refusal(scene.parent, scene, tiny_prior, option, target, *overwrite)


@pytest.mark.parametrize("name", ["scene_restored.tif", "scene_std.tif", "scene_std.qml"])
def test_existing_outputs_are_kept_without_overwrite(scene: Path, tiny_prior: Path, name: str) -> None:
    (scene.parent / name).write_text("precious")
    assert f"{name} exists; add --overwrite to replace it" in refusal(scene.parent, scene, tiny_prior)
    assert restore(scene, tiny_prior, "--overwrite").exit_code == 0
    assert (scene.parent / name).read_bytes() != b"precious"


def test_a_reference_of_another_size(scene: Path, tiny_prior: Path) -> None:
    truth = write_scene(scene.parent / "truth.tif", PAN[:, :60])
    said = refusal(scene.parent, scene, tiny_prior, "--reference", truth)
    assert said.endswith("truth.tif has 64 x 60 pixels and 1 bands, the scene 64 x 64 and 1")


def test_a_damaged_reference(scene: Path, tiny_prior: Path) -> None:
    truth = write_scene(scene.parent / "truth.tif", PAN)
    truth.write_bytes(truth.read_bytes()[:-1000])
    assert "truth.tif cannot be read at row 0" in refusal(scene.parent, scene, tiny_prior, "--reference", truth)


def test_a_disk_with_too_little_space(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=10**12, free=1000))
    said = refusal(scene.parent, scene, tiny_prior)
    assert f"the disk of {scene.parent} is full: 0.0 MB are free" in said


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_disk_that_fills_while_tiles_are_stored(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    scene, synced, original = write_scene(tmp_path / "scene.tif", smooth(1, 128, 128).astype(np.uint16)), [], os.fsync

    def fsync(handle: int) -> None:
        if len(synced) == after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced.append(handle)
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert f"the disk of {tmp_path} is full; free some space" in refusal(tmp_path, scene, tiny_prior)
    assert len(synced) == after


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 20_000, 30_000, 45_000])
def test_a_disk_that_fills_at_any_moment(tmp_path: Path, tiny_prior: Path, size: int) -> None:
    """A tile needs 25 kB, the deflated standard deviations more: the run file, a tile or the assembled file is cut short."""
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 128, 128).astype(np.uint16))
    before = listing(tmp_path)
    with largest_file(size):
        result = restore(scene, tiny_prior)
    assert "is full" in sentence(result) or "its disk may be full" in sentence(result)
    assert listing(tmp_path) == before


def test_a_disk_that_fills_while_the_cog_is_written(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, original = write_scene(tmp_path / "scene.tif", smooth(1, 128, 128).astype(np.uint16)), rasterio.shutil.copy

    def copy(*arguments: object, **options: object) -> None:
        with largest_file(10_000):
            original(*arguments, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", copy)
    assert f"writing to {tmp_path} failed, its disk may be full" in refusal(tmp_path, scene, tiny_prior)


def test_a_full_disk_in_a_process_of_its_own(tmp_path: Path, tiny_prior: Path) -> None:
    """Even libtiff, which prints past every error handler, stays silent."""
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 128, 128).astype(np.uint16))
    before = listing(tmp_path)
    text = (
        "import resource, sys; from imaging.cli.restore import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (45_000, 45_000)); main(sys.argv[1:])"
    )
    arguments = ["--input", scene, "--sensor", "pleiades-raw", "--prior", tiny_prior, "--iterations", "1", "--tile", "64", "--halo", "16"]
    done = subprocess.run([sys.executable, "-c", text, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: writing to ")
    assert done.stderr.count("\n") == 1
    assert listing(tmp_path) == before


def test_the_module_refuses_like_the_command(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "imaging", "--input", str(tmp_path / "missing.tif"), "--sensor", "generic"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
