"""Sensor profiles: the schema, its messages, and how a profile's bands meet a scene's."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging.sensors
from imaging.errors import InputError
from imaging.sensors import Band, Mtf, Noise, SensorProfile, builtin_sensors, load_profile

EXAMPLE = """\
name = "my-sensor"
state = "raw"                 # raw | product
bits = 12                     # useful bits of the stored integers
[[bands]]
name = "PAN"
gsd = 0.7                     # metres
[bands.mtf]
shape = "gaussian"            # gaussian | exponential | file (with psf = "kernel.npy")
nyquist = [0.15, 0.15]        # across track, along track
[bands.noise]                 # variance in DN^2 = sigma0^2 + gain * signal
sigma0 = 3.0
gain = 0.05
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a profile, by default the example with one text replaced, and return its path."""

    def _write(old: str = "", new: str = "", text: str = EXAMPLE) -> Path:
        assert old in text
        path = tmp_path / "my.toml"
        path.write_text(text.replace(old, new) if old else text, encoding="utf-8")
        return path

    return _write


def test_the_documented_file_is_read_as_written(write: Any) -> None:
    profile = load_profile(write())
    assert profile == SensorProfile(
        "my-sensor", "raw", 12, (Band("PAN", 0.7, Mtf("gaussian", (0.15, 0.15)), Noise(3.0, 0.05)),), title="my-sensor"
    )
    assert profile.full_scale == 4095.0
    assert load_profile(str(write())) == profile


def test_exponential_shape_reaches_the_kernel(write: Any) -> None:
    kernel = load_profile(write('"gaussian"', '"exponential"')).bands[0].mtf.psf()
    # At half of Nyquist the exponential has the square root of its value at Nyquist, the Gaussian the fourth root.
    assert np.abs(np.fft.fft(kernel.sum(0), 64))[16] == pytest.approx(0.15**0.5, abs=0.02)


def test_kernel_file_is_found_beside_the_profile(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    kernel = np.random.default_rng(0).random((5, 5))
    np.save(tmp_path / "kernel.npy", 7 * kernel)
    mtf = load_profile(write('"gaussian"', '"file"\npsf = "kernel.npy"')).bands[0].mtf
    assert mtf.psf() == pytest.approx(kernel / kernel.sum(), rel=1e-12)
    spectrum = np.abs(np.fft.fft2(mtf.psf(), (64, 64)))
    assert mtf.nyquist == pytest.approx((spectrum[0, 32], spectrum[32, 0]), rel=1e-9)  # of the kernel, whatever the file says


MISTAKES = [
    ('name = "my-sensor"', 'nam = "my-sensor"', ["nam", "my-sensor", "did you mean name"]),
    ("gsd = 0.7", "gds = 0.7", ["bands[0].gds", "0.7", "did you mean gsd"]),
    ("nyquist = [", "nyqist = [", ["bands[0].mtf.nyqist", "[0.15, 0.15]", "did you mean nyquist"]),
    ("sigma0 = 3.0", "sigma = 3.0", ["bands[0].noise.sigma", "3.0", "did you mean sigma0"]),
    ("gain = 0.05", "Gain_ = 0.05", ["bands[0].noise.Gain_", "did you mean gain"]),
    ('state = "raw"  ', "", ["state is missing"]),
    ("bits = 12", "", ["bits is missing"]),
    ('name = "my-sensor"', "", ["name is missing"]),
    ('name = "PAN"', "", ["bands[0].name is missing"]),
    ("gsd = 0.7", "", ["bands[0].gsd is missing"]),
    ('shape = "gaussian"', "", ["bands[0].mtf.shape is missing"]),
    ("nyquist = [0.15, 0.15]", "", ["bands[0].mtf.nyquist is missing"]),
    ("gain = 0.05", "", ["bands[0].noise.gain is missing"]),
    ("[0.15, 0.15]", "[0.15, 0]", ["bands[0].mtf.nyquist", "[0.15, 0]", "above 0 and below 0.95"]),
    ("[0.15, 0.15]", "[0.95, 0.15]", ["bands[0].mtf.nyquist", "[0.95, 0.15]", "above 0 and below 0.95"]),
    ("[0.15, 0.15]", "[1.2, 0.15]", ["bands[0].mtf.nyquist", "[1.2, 0.15]", "above 0 and below 0.95"]),
    ("[0.15, 0.15]", "[-0.15, 0.15]", ["bands[0].mtf.nyquist", "[-0.15, 0.15]", "above 0 and below 0.95"]),
    ("[0.15, 0.15]", "[nan, 0.15]", ["bands[0].mtf.nyquist", "nan"]),
    ("[0.15, 0.15]", "[0.15, 0.15, 0.15]", ["bands[0].mtf.nyquist", "two numbers"]),
    ("[0.15, 0.15]", '"high"', ["bands[0].mtf.nyquist", "high", "two numbers"]),
    ("[0.15, 0.15]", "[true, 0.15]", ["bands[0].mtf.nyquist", "True"]),
    ("sigma0 = 3.0", "sigma0 = -3.0", ["bands[0].noise.sigma0", "-3.0", "not negative"]),
    ("gain = 0.05", "gain = -0.05", ["bands[0].noise.gain", "-0.05", "not negative"]),
    ("gain = 0.05", 'gain = "0.05"', ["bands[0].noise.gain", "'0.05'", "a number"]),
    ("gain = 0.05", "gain = inf", ["bands[0].noise.gain", "inf"]),
    ("sigma0 = 3.0", "sigma0 = 1" + 400 * "0", ["bands[0].noise.sigma0", "a number"]),
    ("sigma0 = 3.0\ngain = 0.05", "sigma0 = 0\ngain = 0", ["bands[0].noise.sigma0", "not both zero"]),
    ("gsd = 0.7", "gsd = 0", ["bands[0].gsd", "0", "above 0"]),
    ("gsd = 0.7", "gsd = true", ["bands[0].gsd", "True", "above 0"]),
    ('"raw"  ', '"fresh"', ["state", "'fresh'", "raw or product"]),
    ('"raw"  ', '["raw"]', ["state", "['raw']", "raw or product"]),
    ("bits = 12", "bits = 0", ["bits", "0", "1 to 16"]),
    ("bits = 12", "bits = 40", ["bits", "40", "1 to 16"]),
    ("bits = 12", "bits = 12.0", ["bits", "12.0", "an integer"]),
    ('shape = "gaussian"', 'shape = "box"', ["bands[0].mtf.shape", "'box'", "gaussian, exponential or file"]),
    ('shape = "gaussian"', "shape = []", ["bands[0].mtf.shape", "[]", "gaussian, exponential or file"]),
    ('shape = "gaussian"', 'shape = "gaussian"\npsf = "k.npy"', ["bands[0].mtf.psf", "k.npy", 'shape = "file"']),
    ('shape = "gaussian"', 'shape = "gaussian"\ntarget = 0', ["bands[0].mtf.target", "above 0"]),
    ('shape = "gaussian"', 'shape = "file"\ntarget = 0.5\npsf = "k.npy"', ["bands[0].mtf.target", "0.5"]),
    ('shape = "gaussian"', 'shape = "file"', ["bands[0].mtf.psf is missing", 'psf = "kernel.npy"']),
    ('name = "PAN"', "name = 3", ["bands[0].name", "3", "a text"]),
    ("[bands.noise]", "[bands.noise", ["not a readable TOML file"]),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_gets_one_sentence(write: Any, old: str, new: str, said: list[str]) -> None:
    path = write(old, new)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nstate = "raw"\nbits = 12\nbands = []\n', "at least one [[bands]] table"),
        ('name = "a"\nstate = "raw"\nbits = 12\nbands = 4\n', "at least one [[bands]] table"),
        ('name = "a"\nstate = "raw"\nbits = 12\nbands = [4]\n', "bands[0] is 4; accepted: a table"),
        (EXAMPLE + EXAMPLE[EXAMPLE.index("[[bands]]") :], "bands of different names"),
    ],
)
def test_bands_that_cannot_be(write: Any, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_profile(write(text=text))
    assert said in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a readable TOML file"):
        load_profile(tmp_path / "bad.toml")


def test_a_pipe_is_no_profile_and_no_kernel(write: Any, tmp_path: Path) -> None:
    for name in ("profile.toml", "kernel.npy"):
        os.mkfifo(tmp_path / name)  # reading it would wait for a writer
    with pytest.raises(InputError, match=r"sensor file .*profile.toml is neither a file nor a folder"):
        load_profile(tmp_path / "profile.toml")
    with pytest.raises(InputError, match=r"psf is .*kernel.npy.*cannot be read"):
        load_profile(write('"gaussian"', '"file"\npsf = "kernel.npy"'))


def test_unknown_sensor_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean pleiades") as caught:
        load_profile("Pleiade")
    for name in builtin_sensors():
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "kernel",
    [np.ones((3, 5)), np.ones((4, 4)), np.ones(9), np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((67, 67)), np.full((3, 3), 1j), None],
    ids=["not square", "even", "one axis", "zero sum", "not finite", "too large", "complex", "archive"],
)
def test_a_kernel_that_is_none(write: Any, tmp_path: Path, kernel: np.ndarray | None) -> None:
    path = tmp_path / "kernel.npy"
    if kernel is None:
        with path.open("wb") as file:
            np.savez(file, kernel=np.ones((3, 3)))
    else:
        np.save(path, kernel)
    with pytest.raises(InputError) as caught:
        load_profile(write('"gaussian"', '"file"\npsf = "kernel.npy"'))
    message = str(caught.value)
    for part in ("my.toml", "bands[0].mtf.psf", "kernel.npy", "accepted:"):
        assert part in message


@pytest.mark.parametrize("content", [None, b"", b"not an array", b"\x80\x04K\x01."])
def test_a_kernel_file_that_cannot_be_read(write: Any, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "kernel.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"my.toml: bands\[0\].mtf.psf is .*kernel.npy.*accepted: a .npy array"):
        load_profile(write('"gaussian"', '"file"\npsf = "kernel.npy"'))


@pytest.mark.parametrize("name", builtin_sensors())
def test_every_number_of_a_builtin_profile_names_its_source(name: str) -> None:
    folder = Path(imaging.sensors.__file__).parent / "profiles"
    table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    assert table["name"] == name
    assert table["source"].strip()
    for band in table["bands"]:
        for part in (band, band["mtf"], *([band["noise"]] if "noise" in band else [])):
            assert part["source"].strip()
    loaded = load_profile(name)
    assert [b.name for b in loaded.bands] == [b["name"] for b in table["bands"]]
    assert [b.mtf.source for b in loaded.bands] == [b["mtf"]["source"] for b in table["bands"]]


def names(bands: tuple[Band, ...]) -> list[str]:
    return [b.name for b in bands]


def test_bands_match_by_name_then_by_order() -> None:
    profile = load_profile("pleiades")
    assert names(profile.match(("b2", " B0 ", "PAN"))) == ["B2", "B0", "PAN"]
    assert names(profile.match((None, None, None, None, None))) == ["PAN", "B0", "B1", "B2", "B3"]
    assert names(profile.match(("red", "green", "blue", "nir"))) == ["B0", "B1", "B2", "B3"]
    assert names(profile.match((None,))) == ["PAN"]
    assert names(profile.match(("B3",))) == ["B3"]


def test_generic_profile_serves_any_number_of_bands() -> None:
    assert names(load_profile("generic").match((None,) * 7)) == ["*"] * 7


@pytest.mark.parametrize("count", [2, 3, 6])
def test_unknown_number_of_bands_names_those_of_the_profile(count: int) -> None:
    with pytest.raises(InputError, match=f"the scene has {count} bands, sensor pleiades has PAN, B0, B1, B2, B3"):
        load_profile("pleiades").match((None,) * count)


def test_overrides_apply_to_all_bands_and_keep_the_rest() -> None:
    profile = load_profile("sentinel2").with_overrides(mtf_nyquist=0.2, noise=(4.0, 0.1))
    assert all(b.mtf.nyquist == (0.2, 0.2) for b in profile.bands)
    assert [(b.noise.sigma0, b.noise.gain, b.noise.offset) for b in profile.bands if b.noise] == [(4.0, 0.1, 1000.0)] * 12
    assert load_profile("sentinel2").with_overrides() == load_profile("sentinel2")


def test_override_of_a_kernel_file_becomes_a_gaussian(write: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", np.ones((3, 3)))
    profile = load_profile(write('"gaussian"', '"file"\npsf = "kernel.npy"')).with_overrides(mtf_nyquist=0.2)
    assert profile.bands[0].mtf.psf() == pytest.approx(Mtf("gaussian", (0.2, 0.2)).psf())


@pytest.mark.parametrize("value", [0.0, -0.1, 0.95, 1.2, float("nan")])
def test_override_of_the_mtf_out_of_range(value: float) -> None:
    with pytest.raises(InputError, match=r"above 0 and below 0\.95"):
        load_profile("pleiades").with_overrides(mtf_nyquist=value)


@pytest.mark.parametrize("value", [(-1.0, 0.1), (0.0, 0.0), (float("nan"), 1.0), (1.0, float("nan")), (float("inf"), 0.0)])
def test_override_of_the_noise_out_of_range(value: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="not negative and not both zero"):
        load_profile("pleiades").with_overrides(noise=value)


def test_common_names_tell_what_the_sensor_calls_otherwise(tmp_path: Path) -> None:
    assert [b.common_name for b in load_profile("pleiades").bands] == ["pan", "blue", "green", "red", "nir"]
    assert [b.common_name for b in load_profile("naip").bands] == ["red", "green", "blue", "nir"]
    assert load_profile("generic").bands[0].common_name is None


def test_bands_that_share_a_name_are_taken_by_order() -> None:
    profile = load_profile("pleiades")
    assert [b.name for b in profile.match(("B1", "B1", "B1", "B1"))] == ["B0", "B1", "B2", "B3"]


def test_sentinel_2_is_one_profile_and_its_former_names_are_the_bands_of_one_distance() -> None:
    whole = load_profile("sentinel2")
    twenty, sixty = load_profile("sentinel2-20m"), load_profile("sentinel2-60m")
    assert [b.gsd for b in whole.bands] == 4 * [10.0] + 6 * [20.0] + 2 * [60.0]
    assert names(twenty.bands) == ["B5", "B6", "B7", "B8A", "B11", "B12"]
    assert names(sixty.bands) == ["B1", "B9"]
    assert whole.bands[4:] == twenty.bands + sixty.bands
    assert (twenty.name, twenty.title, twenty.bits) == ("sentinel2-20m", "Sentinel-2 MSI level-1C, 20 m bands", 14)
    assert (sixty.name, sixty.title, sixty.bits) == ("sentinel2-60m", "Sentinel-2 MSI level-1C, 60 m bands", 14)
    assert [n for n in builtin_sensors() if n.startswith("sentinel2")] == ["sentinel2"]


@pytest.mark.parametrize(
    ("count", "expected"), [(4, "B2 B3 B4 B8"), (6, "B5 B6 B7 B8A B11 B12"), (12, "B2 B3 B4 B8 B5 B6 B7 B8A B11 B12 B1 B9")]
)
def test_scenes_of_sentinel_2_without_descriptions_are_told_by_their_number_of_bands(count: int, expected: str) -> None:
    assert names(load_profile("sentinel2").match((None,) * count)) == expected.split()
