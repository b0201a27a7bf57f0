"""Writing sensor profiles as TOML files of the kind that come with the package."""

from __future__ import annotations

from pathlib import Path

from imaging.errors import InputError
from imaging.raster import write_whole
from imaging.sensors.profile import Band, SensorProfile

_HEADER = """\
# MTF: [across track, along track] at the Nyquist frequency of the stored grid. Noise: variance in DN^2 = sigma0^2 + gain * (DN - offset).
# Every number names its source or says "assumed"; correct what you know better and pass the file with --sensor FILE.toml.
"""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def _text(value: str) -> str:
    """A TOML basic string."""
    return '"' + "".join(_ESCAPES.get(c, f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in value) + '"'


def _lines(band: Band, path: Path) -> list[str]:
    mtf, noise = band.mtf, band.noise
    if mtf.kernel is not None or mtf.shape == "file":
        raise InputError(
            f"{path}: band {band.name} has its PSF from a file, which a written profile would not hold; give its MTF at Nyquist instead"
        )
    lines = ["", "[[bands]]", f"name = {_text(band.name)}"]
    if band.common_name is not None:
        lines.append(f"common_name = {_text(band.common_name)}")
    lines += [f"gsd = {float(band.gsd)!r}", f"source = {_text(band.source)}"]
    lines += ["[bands.mtf]", f"shape = {_text(mtf.shape)}", f"nyquist = [{float(mtf.nyquist[0])!r}, {float(mtf.nyquist[1])!r}]"]
    if mtf.target is not None:
        lines.append(f"target = {float(mtf.target)!r}")
    lines.append(f"source = {_text(mtf.source)}")
    if noise is not None:
        lines += ["[bands.noise]", f"sigma0 = {float(noise.sigma0)!r}", f"gain = {float(noise.gain)!r}"]
        if noise.offset:
            lines.append(f"offset = {float(noise.offset)!r}")
        lines.append(f"source = {_text(noise.source)}")
    return lines


def write_profile(profile: SensorProfile, path: str | Path) -> None:
    """Write a profile that `load_profile` reads back as it is; the file is there in whole or not at all.

    Parameters
    ----------
    profile : SensorProfile
        A profile without a title is read back with its name for one.
    path : str or Path
        File to write; one that exists is replaced.

    Raises
    ------
    InputError
        For a PSF from a file, and where the file cannot be written.
    """
    path = Path(path)
    heading = "".join(c if c.isprintable() else " " for c in profile.title or profile.name)
    lines = [f"name = {_text(profile.name)}"]
    if profile.title:
        lines.append(f"title = {_text(profile.title)}")
    lines += [f"state = {_text(profile.state)}", f"bits = {profile.bits}", f"source = {_text(profile.source)}"]
    for band in profile.bands:
        lines += _lines(band, path)
    write_whole(path, (f"# {heading}\n{_HEADER}" + "\n".join(lines) + "\n").encode())
