"""Files of one restoration: which are read and written, checked before anything is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from imaging.errors import InputError
from imaging.raster import partial_folder
from imaging.sensors import is_product

_LONGEST = 255 - len("..partial")
"""Bytes of an output's name, at most: it comes into being in a hidden folder that is named after it."""


def check_name(path: Path) -> None:
    """Refuse a name that no file can have, by an `InputError`."""
    try:
        length = len(path.name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(f"the name {str(path).encode('utf-8', 'backslashreplace').decode()} is no text; rename the file") from error
    if length > _LONGEST:
        raise InputError(f"the name {path.name[:40]}... is too long; accepted are {_LONGEST} bytes")


@dataclass(frozen=True, kw_only=True)
class ScenePaths:
    """Files of one restoration; unnamed outputs go beside the input as ``*_restored.tif`` and ``*_std.tif``.

    Attributes
    ----------
    input : str or Path
        The scene: a raster, or a product's folder or metadata file, or ``PRODUCT/NAME`` for one of several scenes of a product.
    output, std : str or Path, optional
        Restored scene and standard deviations.
    uncertainty : bool
        Whether the standard deviations are written.
    save_samples : str or Path, optional
        Existing folder for posterior samples.
    overwrite : bool
        Whether existing outputs are replaced.
    resume : bool
        Whether finished tiles of an interrupted run are taken over.
    samples : str or Path, optional
        Former name of ``save_samples``.
    pan : str or Path, optional
        Of a fusion, the panchromatic scene of ``input``; likewise a raster or a product's.
    """

    input: Path
    output: Path | None = None
    std: Path | None = None
    uncertainty: bool = True
    save_samples: Path | None = None
    overwrite: bool = False
    resume: bool = False
    samples: Path | None = None
    pan: Path | None = None

    def __post_init__(self) -> None:
        if self.samples is not None:
            warnings.warn("ScenePaths(samples=...) is now ScenePaths(save_samples=...)", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "save_samples", self.samples)
            object.__setattr__(self, "samples", None)
        for name in ("input", "output", "std", "save_samples", "pan"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))

    @property
    def restored_path(self) -> Path:
        """Where the restored scene goes."""
        return self.output or self._beside("restored")

    def _beside(self, what: str) -> Path:
        """An output beside the input; scenes of a product go beside its folder."""
        delivered = self.input.parent
        if not self.input.exists() and is_product(delivered):
            delivered = Path(os.path.abspath(delivered)) if delivered.name in {"", ".."} else delivered
            return delivered.with_name(f"{delivered.stem}_{self.input.name}_{what}.tif")
        named = Path(os.path.abspath(self.input)) if self.input.name in {"", ".."} else self.input
        return named.with_name(f"{named.stem}_{what}.tif")

    @property
    def std_path(self) -> Path | None:
        """Where the standard deviations go; None without them."""
        if not self.uncertainty:
            return None
        if self.std is not None:
            return self.std
        if self.output is not None:
            stem = self.output.stem.removesuffix("_restored")
            return self.output.with_name(f"{stem}_std.tif")
        return self._beside("std")

    @property
    def style_path(self) -> Path | None:
        """Where the style goes in which QGIS shows the standard deviations, a name it looks for; None without them."""
        return None if self.std_path is None else self.std_path.with_suffix(".qml")

    @property
    def sensor_path(self) -> Path:
        """Where the profile of an estimated sensor goes."""
        return self.restored_path.with_name(f"{self.restored_path.stem.removesuffix('_restored')}_sensor.toml")

    def sample_path(self, index: int) -> Path:
        """Where posterior sample ``index`` goes."""
        folder = self.save_samples or self.restored_path.parent
        return folder / f"{self.restored_path.stem.removesuffix('_restored')}_sample_{index:03d}.tif"

    def outputs(self, samples: int, *, estimated: bool = False) -> list[Path]:
        """All files that will be written, with the profile of an estimated sensor and the style of the standard deviations."""
        fixed = [self.restored_path] + ([self.std_path] if self.std_path else []) + ([self.sensor_path] if estimated else [])
        style = [self.style_path] if self.style_path else []
        return fixed + [self.sample_path(k) for k in range(samples)] + style


def check_paths(paths: ScenePaths, samples: int, *, estimated: bool = False) -> None:
    """Refuse outputs that would destroy something or cannot be written.

    `InputError` for one that is the input, exists, lies in no folder, is named twice, or whose name no file can have.
    """
    outputs = paths.outputs(samples, estimated=estimated)
    sources = [p for p in (paths.input, paths.pan) if p is not None]
    for path in (*sources, *outputs):
        check_name(path)
    begun = partial_folder(paths.restored_path).is_dir()  # outputs beside it are those of the run that is resumed
    if samples and paths.save_samples is None:
        raise InputError(f"{samples} samples are asked for but no folder for them; add --save-samples DIR")
    if paths.save_samples is not None and not samples:
        raise InputError(f"a folder for samples is given, {paths.save_samples}, but no number of them; add --samples N")
    if len({os.path.realpath(p) for p in outputs}) != len(outputs):
        raise InputError(f"two outputs have the same name, {outputs[0]}; choose another --std")
    for path in outputs:
        if any(same_file(path, source) for source in sources):
            raise InputError(f"the output {path} is the input itself; choose another --output")
        if path.is_dir():
            raise InputError(f"the output {path} is a folder; give the name of a file")
        if path in {paths.restored_path, paths.std_path} and path.suffix.lower() not in {".tif", ".tiff"}:
            raise InputError(f"the output {path} would be a GeoTIFF; give it a name that ends in .tif")
        if not path.parent.is_dir():
            raise InputError(f"the output folder {path.parent} does not exist; create it or choose another --output")
        if path.exists() and not paths.overwrite and not (paths.resume and begun):
            raise InputError(f"{path} exists; add --overwrite to replace it (in Python overwrite=True)")


def check_sources(paths: ScenePaths, outputs: Iterable[Path], files: Iterable[Path]) -> None:
    """Refuse outputs that are among the files the opened input consists of, such as the sources of a VRT or a mask beside it."""
    for path, file in product(outputs, files):
        if path.exists() and file.exists() and path.samefile(file):
            raise InputError(f"the output {path} is a part of the input {paths.input}; choose another --output")


def same_file(first: Path, second: Path) -> bool:
    """Whether two names lead to one file, which need not be there."""
    return first.absolute() == second.absolute() or (first.exists() and second.exists() and first.samefile(second))
