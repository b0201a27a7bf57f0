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


def _value(value: object) -> str:
    """A TOML text, list or number."""
    if isinstance(value, str):
        return _text(value)
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, tuple) else repr(value)


def _entries(**values: object) -> list[str]:
    """Lines of a TOML table, without what is None."""
    return [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]


def _lines(band: Band, path: Path) -> list[str]:
    mtf, noise = band.mtf, band.noise
    if mtf.kernel is not None or mtf.shape == "file":
        raise InputError(
            f"{path}: band {band.name} has its PSF from a file, which a written profile would not hold; give its MTF at Nyquist instead"
        )
    target = None if mtf.target is None else float(mtf.target)
    lines = ["", "[[bands]]", *_entries(name=band.name, common_name=band.common_name, gsd=float(band.gsd), source=band.source)]
    lines += ["[bands.mtf]", *_entries(shape=mtf.shape, nyquist=tuple(map(float, mtf.nyquist)), target=target, source=mtf.source)]
    if noise is not None:
        offset = float(noise.offset) or None
        lines += ["[bands.noise]", *_entries(sigma0=float(noise.sigma0), gain=float(noise.gain), offset=offset, source=noise.source)]
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
    lines = _entries(name=profile.name, title=profile.title or None, state=profile.state, bits=profile.bits, source=profile.source)
    for band in profile.bands:
        lines += _lines(band, path)
    write_whole(path, (f"# {heading}\n{_HEADER}" + "\n".join(lines) + "\n").encode())
