"""The command: what it prints, and that it passes on what it is given."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging
from imaging.amortised import list_networks
from imaging.bilevel import list_regularizers
from imaging.cli.restore import main, rio_restore
from imaging.restoration.fitting import Fitter
from imaging.sensors import builtin_sensors
from tests.cli.commands import invoke, restore, sentence
from tests.scenes import fit, listing, read, smooth, write_scene

KEYS = {
    "input", "restored", "std", "sensor", "prior", "method", "scale", "width", "height", "bands", "iterations", "seconds", "megapixels",
    "peak_memory_mb", "seed", "version",
}  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", smooth(1, 64, 80).astype(np.uint16))


def test_outputs_have_default_names_and_a_summary(scene: Path, tiny_prior: Path) -> None:
    result = restore(scene, tiny_prior)
    assert result.exit_code == 0
    assert result.stderr == "", "no progress bar where nobody watches"
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["restored", str(scene.with_name("scene_restored.tif"))]
    assert lines[1].split() == ["std", str(scene.with_name("scene_std.tif"))]
    assert lines[2].startswith("80 x 64 pixels, band 1, sensor pleiades-raw, prior tiny, vble-xz, 2 iterations,")
    assert sorted(listing(scene.parent)) == ["scene.tif", "scene_restored.tif", "scene_std.qml", "scene_std.tif"]


def test_json_is_one_object_that_says_what_was_done(scene: Path, tiny_prior: Path) -> None:
    result = restore(scene, tiny_prior, "--json", "--seed", 7, "--output", scene.parent / "out.tif")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert set(said) >= KEYS
    assert (said["input"], said["restored"], said["std"]) == (str(scene), str(scene.parent / "out.tif"), str(scene.parent / "out_std.tif"))
    assert (said["width"], said["height"], said["bands"], said["megapixels"]) == (80, 64, [1], 80 * 64 / 1e6)
    assert (said["sensor"], said["prior"], said["method"], said["iterations"]) == ("pleiades-raw", "tiny", "vble-xz", 2)
    assert (said["seed"], said["scale"], said["version"]) == (7, 1, imaging.__version__)
    assert said["seconds"] > 0
    assert 100 < said["peak_memory_mb"] < 100_000


def test_a_reference_adds_its_figures(scene: Path, tiny_prior: Path) -> None:
    truth = write_scene(scene.parent / "truth.tif", smooth(1, 64, 80).astype(np.uint16) + np.uint16(5))
    said = json.loads(restore(scene, tiny_prior, "--reference", truth, "--json").stdout)["reference"]
    assert said["psnr_before"] == pytest.approx(20 * np.log10(4095 / 5))
    result = restore(scene, tiny_prior, "--reference", truth, "--overwrite")
    assert f"PSNR {said['psnr_before']:.2f} dB before, {said['psnr_after']:.2f} dB after" in result.stdout
    assert f"{said['coverage_90']:.3f} at 90 %" in result.stdout


def test_options_reach_the_restoration(scene: Path, tiny_prior: Path) -> None:
    options = ("--seed", 3, "--noise", "5,0.1", "--mtf-nyquist", 0.2, "--method", "vble", "--iterations", 1, "--bands", "1")
    assert restore(scene, tiny_prior, *options, "--output", scene.parent / "command.tif").exit_code == 0
    settings: dict[str, Any] = {"seed": 3, "noise": (5.0, 0.1), "mtf_nyquist": 0.2, "method": "vble", "iterations": 1, "bands": (1,)}
    fit(scene, tiny_prior, output=scene.parent / "call.tif", **settings)
    for name in ("", "_std"):
        assert (scene.parent / f"command{name}.tif").read_bytes() == (scene.parent / f"call{name}.tif").read_bytes()


def test_no_uncertainty_writes_one_file(scene: Path, tiny_prior: Path) -> None:
    result = restore(scene, tiny_prior, "--no-uncertainty", "--json")
    assert json.loads(result.stdout)["std"] is None
    assert sorted(listing(scene.parent)) == ["scene.tif", "scene_restored.tif"]


def test_quiet_says_nothing(scene: Path, tiny_prior: Path) -> None:
    result = restore(scene, tiny_prior, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_verbose_shows_the_settings(scene: Path, tiny_prior: Path) -> None:
    result = restore(scene, tiny_prior, "-v", "--seed", 11)
    assert result.exit_code == 0
    assert "seed=11" in result.stderr
    assert str(scene) in result.stderr


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, tiny_prior: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 130, 200).astype(np.uint16))
    before = listing(tmp_path)
    text = restore(scene, tiny_prior, "--dry-run")
    plan = json.loads(restore(scene, tiny_prior, "--dry-run", "--json").stdout)
    assert listing(tmp_path) == before
    assert (plan["tiles"], plan["width"], plan["height"], plan["bands"]) == (6, 200, 130, [1])
    assert plan["outputs"] == [str(tmp_path / f"scene_{what}") for what in ("restored.tif", "std.tif", "std.qml")]
    assert plan["window_megapixels"] * 1e6 >= 130 * 200
    printed = dict(line.split(maxsplit=1) for line in text.stdout.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert printed["tiles"] == "6"
    assert set(printed) <= set(plan)


def test_a_dry_run_refuses_like_a_run(scene: Path, tiny_prior: Path) -> None:
    assert "nowhere does not exist" in sentence(restore(scene, tiny_prior, "--dry-run", "--output", "nowhere/out.tif"))


def test_sensors_are_listed() -> None:
    result = invoke("--list-sensors")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == builtin_sensors()


def test_priors_are_listed(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tiny_prior, *(m.folder for m in [*list_networks(), *list_regularizers()])):
        (tmp_path / folder.name).symlink_to(folder)
    monkeypatch.setattr("imaging.releases.zoo.zoo_folder", lambda: tmp_path)
    result = invoke("--list-priors")
    assert result.exit_code == 0
    networks, (prior, *regularizers) = [], [line.split() for line in result.stdout.splitlines()]
    while "amortised" in prior:
        networks.append(prior[0])
        prior, *regularizers = regularizers
    assert networks == [n.name for n in list_networks()]
    assert prior == ["tiny", "1", "channel(s)", "random", "weights"]
    assert {words[0]: words[2] for words in regularizers} == {
        name: name.removesuffix("-bsd") for name in (r.name for r in list_regularizers())
    }


def test_a_damaged_zoo_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.toml").write_text("name = ")
    (tmp_path / "broken" / "weights.safetensors").write_text("")
    monkeypatch.setattr("imaging.releases.zoo.zoo_folder", lambda: tmp_path)
    assert "its recipe.toml cannot be read" in sentence(invoke("--list-priors"))


@pytest.mark.parametrize("name", builtin_sensors())
def test_a_sensor_is_described_with_all_its_bands(name: str) -> None:
    result = invoke("--describe-sensor", name)
    assert result.exit_code == 0
    profile = imaging.load_profile(name)
    assert result.stdout.startswith(f"{name}: {profile.title}\n")
    for band in profile.bands:
        assert f"\nband {band.name}: {band.gsd:g} m" in result.stdout


def test_an_unknown_sensor_is_not_described() -> None:
    assert "did you mean naip?" in sentence(invoke("--describe-sensor", "nipa"))


def test_version() -> None:
    assert imaging.__version__ in invoke("--version").stdout


@pytest.mark.parametrize("arguments", [["--bands", "1,x"], ["--noise", "loud"], ["--batch", "many"], ["--noise", "1,2,3"]])
def test_values_that_cannot_be_parsed_are_usage_errors(scene: Path, tiny_prior: Path, arguments: list[str]) -> None:
    result = restore(scene, tiny_prior, *arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: Invalid value for '{arguments[0]}': '{arguments[1]}' is n")


def test_rio_restore_takes_input_and_output(scene: Path, tiny_prior: Path) -> None:
    options = ("--sensor", "pleiades-raw", "--prior", tiny_prior, "--iterations", 2, "--tile", 64, "--halo", 16)
    assert invoke(scene, scene.parent / "rio.tif", *options, command=rio_restore).exit_code == 0
    assert restore(scene, tiny_prior, "--output", scene.parent / "own.tif").exit_code == 0
    for name in ("", "_std"):
        assert (scene.parent / f"rio{name}.tif").read_bytes() == (scene.parent / f"own{name}.tif").read_bytes()
    assert "is the input itself" in sentence(invoke(scene, scene, *options, command=rio_restore))


def test_entry_points_name_the_commands() -> None:
    text = (Path(imaging.__file__).parents[1] / "pyproject.toml").read_text()
    for value, command in (("imaging.cli.restore:main", main), ("imaging.cli.restore:rio_restore", rio_restore)):
        assert f'"{value}"' in text
        assert EntryPoint("", value, "").load() is command


def test_an_interruption_says_how_to_go_on(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, calls, original = write_scene(tmp_path / "scene.tif", smooth(1, 64, 128).astype(np.uint16)), [], Fitter.__call__

    def interrupted(self: Fitter, *arguments: Any) -> Any:
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Fitter, "__call__", interrupted)
        result = restore(scene, tiny_prior)
    assert result.exit_code == 1
    assert result.stderr == "Interrupted; the same command with --resume goes on from the finished tiles.\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".scene_restored.tif.partial", "scene.tif"]
    assert "begun with other settings" in sentence(restore(scene, tiny_prior, "--resume", "--seed", 1))
    assert restore(scene, tiny_prior, "--resume").exit_code == 0
    assert restore(scene, tiny_prior, "--output", tmp_path / "whole.tif").exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "scene_restored.tif"), read(tmp_path / "whole.tif"))
    assert not list(tmp_path.glob(".*"))


def test_a_failure_while_working_is_one_sentence_too(scene: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("of the test's\nwith details")

    monkeypatch.setattr(Fitter, "__call__", broken)
    before = listing(scene.parent)
    said = sentence(restore(scene, tiny_prior), code=1)
    assert said == "the restoration failed (ZeroDivisionError: of the test's); run again with -v for the details"
    assert listing(scene.parent) == before
    assert isinstance(restore(scene, tiny_prior, "-v").exception, ZeroDivisionError)
