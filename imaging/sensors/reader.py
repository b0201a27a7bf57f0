"""Sensor profiles as TOML files that a remote-sensing engineer reads and corrects."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from imaging.errors import InputError, did_you_mean, missing
from imaging.sensors.mtf import Kernel, nyquist_of
from imaging.sensors.profile import HUGE, Band, Mtf, Noise, SensorProfile

_TOP = {"name", "title", "state", "bits", "bands", "source"}
_BAND = {"name", "common_name", "gsd", "mtf", "noise", "source"}
_MTF = {"shape", "nyquist", "target", "psf", "source"}
_NOISE = {"sigma0", "gain", "offset", "source"}
_PARTS = {"sentinel2-20m": ("sentinel2", 20.0), "sentinel2-60m": ("sentinel2", 60.0)}
"""Names that stand for the bands of one ground sample distance, metres, of a profile; those of former profiles."""


class _Reader:
    """Checked access to one TOML file; each complaint names file, key, value and what is accepted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, value: object, accepted: str) -> NoReturn:
        raise InputError(f"{self.path}: {key} is {value!r}; accepted: {accepted}")

    def keys(self, table: object, where: str, known: set[str], needed: set[str]) -> dict[str, Any]:
        if not isinstance(table, dict):
            self.fail(where.rstrip("."), table, "a table")
        for key in table:
            if key not in known:
                raise InputError(f"{self.path}: unknown key {where}{key} = {table[key]!r}; {did_you_mean(str(key), known)}")
        for key in sorted(needed):
            if key not in table:
                raise InputError(f"{self.path}: key {where}{key} is missing; needed are {', '.join(sorted(needed))}")
        return table

    def number(self, table: dict[str, Any], key: str, where: str, low: float, accepted: str) -> float:
        value = table[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < HUGE:
            self.fail(where + key, value, accepted)
        return float(value)

    def text(self, table: dict[str, Any], key: str, where: str, default: str = "assumed") -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or not value:
            self.fail(where + key, value, "a text")
        return value

    def mtf(self, table: object, where: str) -> Mtf:
        checked = self.keys(table, where, _MTF, {"shape"})
        shape = checked["shape"]
        if shape not in ("gaussian", "exponential", "file"):
            self.fail(where + "shape", shape, "gaussian, exponential or file")
        source = self.text(checked, "source", where)
        target = checked.get("target")
        if target is not None and (isinstance(target, bool) or not isinstance(target, (int, float)) or not 0 < target <= 1):
            self.fail(where + "target", target, "a number above 0, at most 1")
        if shape == "file":
            if target is not None:
                self.fail(where + "target", target, 'only beside shape = "gaussian" or "exponential"')
            kernel = self.kernel(checked, where)
            return Mtf("file", nyquist_of(kernel), None, kernel, source)
        if "psf" in checked:
            self.fail(where + "psf", checked["psf"], 'only beside shape = "file"')
        if "nyquist" not in checked:
            raise InputError(f"{self.path}: key {where}nyquist is missing; needed are nyquist, shape")
        pair = checked["nyquist"]
        values = pair if isinstance(pair, list) else [pair, pair]
        numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 0.95]
        if len(numbers) != 2 or len(values) != 2:
            self.fail(where + "nyquist", pair, "two numbers above 0 and below 0.95, across and along track")
        return Mtf(shape, (float(values[0]), float(values[1])), None if target is None else float(target), None, source)

    def kernel(self, table: dict[str, Any], where: str) -> Kernel:
        if "psf" not in table:
            raise InputError(f'{self.path}: key {where}psf is missing; shape = "file" needs psf = "kernel.npy"')
        path = self.path.parent / self.text(table, "psf", where)
        try:
            if not path.is_file():
                raise ValueError(missing(path))
            with path.open("rb") as file:
                kernel = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: {where}psf is {str(path)!r}, which cannot be read; accepted: a .npy array") from error
        square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1 and kernel.shape[0] <= 65
        if not square or kernel.dtype.kind not in "fiu" or not np.isfinite(kernel).all() or kernel.sum() <= 0:
            self.fail(where + "psf", str(path), "a finite square array of odd size up to 65 x 65 with a positive sum")
        return np.asarray(kernel, dtype=float) / float(kernel.sum())

    def noise(self, table: object, where: str) -> Noise:
        checked = self.keys(table, where, _NOISE, {"sigma0", "gain"})
        accepted = "a number, not negative"
        sigma0, gain = (self.number(checked, k, where, 0.0, accepted) for k in ("sigma0", "gain"))
        if sigma0 == 0 and gain == 0:
            self.fail(where + "sigma0", sigma0, "sigma0 and gain not both zero")
        offset = self.number(checked, "offset", where, -HUGE, "a number") if "offset" in checked else 0.0
        return Noise(sigma0, gain, offset, self.text(checked, "source", where))

    def profile(self) -> SensorProfile:
        try:
            table = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{self.path}: not a readable TOML file ({error})") from error
        top = self.keys(table, "", _TOP, {"name", "state", "bits", "bands"})
        if top["state"] not in ("raw", "product"):
            self.fail("state", top["state"], "raw or product")
        if isinstance(top["bits"], bool) or not isinstance(top["bits"], int) or not 1 <= top["bits"] <= 16:
            self.fail("bits", top["bits"], "an integer from 1 to 16")
        if not isinstance(top["bands"], list) or not top["bands"]:
            self.fail("bands", top["bands"], "at least one [[bands]] table")
        bands = tuple(self.band(b, f"bands[{i}].") for i, b in enumerate(top["bands"]))
        names = [b.name.lower() for b in bands]
        if len(set(names)) < len(names):
            self.fail("bands", names, "bands of different names")
        title = self.text(top, "title", "", default=top["name"] if isinstance(top["name"], str) else "")
        return SensorProfile(self.text(top, "name", ""), top["state"], top["bits"], bands, title, self.text(top, "source", ""))

    def band(self, table: object, where: str) -> Band:
        checked = self.keys(table, where, _BAND, {"name", "gsd", "mtf"})
        gsd = self.number(checked, "gsd", where, 1e-6, "a number of metres above 0")
        noise = self.noise(checked["noise"], where + "noise.") if "noise" in checked else None
        mtf = self.mtf(checked["mtf"], where + "mtf.")
        common = self.text(checked, "common_name", where).lower() if "common_name" in checked else None
        return Band(self.text(checked, "name", where), gsd, mtf, noise, self.text(checked, "source", where), common)


def builtin_sensors() -> list[str]:
    """Names of the profiles that come with the package, in order; what `load_profile` and every restoration take."""
    folder = resources.files("imaging.sensors") / "profiles"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_profile(sensor: str | Path) -> SensorProfile:
    """Profile by name, or from a TOML file of the user's.

    Parameters
    ----------
    sensor : str or Path
        One of `builtin_sensors`, or a file. ``sentinel2-20m`` and ``sentinel2-60m`` are the bands of these distances of ``sentinel2``.

    Raises
    ------
    InputError
        Unknown name, unreadable file, a misspelt or missing key, a value out of range.
    """
    if str(sensor) in _PARTS:
        whole, gsd = _PARTS[str(sensor)]
        profile = load_profile(whole)
        bands = tuple(b for b in profile.bands if b.gsd == gsd)
        return replace(profile, name=str(sensor), title=f"{profile.title}, {gsd:g} m bands", bands=bands)
    if str(sensor) in builtin_sensors():
        with resources.as_file(resources.files("imaging.sensors") / "profiles" / f"{sensor}.toml") as path:
            return _Reader(path).profile()
    path = Path(sensor)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise InputError(missing(path, "sensor file "))
        return _Reader(path).profile()
    raise InputError(f"unknown sensor {str(sensor)!r}; {did_you_mean(str(sensor), builtin_sensors())}, or a path to a TOML file")
