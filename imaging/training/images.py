"""Training images: found, packed, read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imaging.errors import InputError


def read_image(path: Path) -> np.ndarray[Any, Any]:
    """Read a training image as ``(bands, H, W)`` integers: 8-bit through Pillow (alpha taken as near-infrared), GeoTIFF as 12-bit."""
    if path.suffix.lower() in {".tif", ".tiff"}:
        import rasterio

        with rasterio.open(path) as source:
            return np.asarray(source.read())
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def full_scale(image: np.ndarray[Any, Any]) -> float:
    """The integer that is 1 in image units, for a training image of 8 or 12 bits."""
    return 4095.0 if image.dtype == np.uint16 else 255.0


def find_images(sources: Sequence[Path], patterns: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """Training images that match patterns, in a stable order; one that several patterns match comes several times.

    Parameters
    ----------
    sources : sequence of Path
        One folder below which images lie, or the parts of a packed training set, see `write_pack`.
    patterns : sequence of str
        Such as ``naip/train/*.webp``.

    Raises
    ------
    FileNotFoundError
        When nothing matches a pattern.
    """
    found = []
    for pattern in patterns:
        matches: list[np.ndarray[Any, Any]] = []
        for source in sources:
            if source.is_dir():
                matches += [read_image(p) for p in sorted(source.glob(pattern))]
            else:
                with np.load(source, allow_pickle=False) as pack:
                    matches += [pack[name] for name in sorted(pack.files) if fnmatchcase(name, pattern)]
        if not matches:
            raise FileNotFoundError(f"no image matches {pattern} in {', '.join(map(str, sources))}")
        found += matches
    return found


def write_pack(folder: Path, patterns: Sequence[str], target: Path, limit: int) -> list[Path]:
    """Pack images into compressed ``.npz`` files that need neither the folder nor an image library to be read.

    Parameters
    ----------
    folder : Path
        Where the patterns start.
    patterns : sequence of str
        Of the images; one that several match is packed once.
    target : Path
        Of the first part; the others get ``-1``, ``-2`` and so on before the suffix.
    limit : int
        Bytes of a part; an image larger than that gets a part of its own.

    Returns
    -------
    list of Path
        The parts.
    """
    names = dict.fromkeys(p.relative_to(folder).as_posix() for pattern in patterns for p in sorted(folder.glob(pattern)))
    parts: list[Path] = []
    pending: dict[str, np.ndarray[Any, Any]] = {}

    def flush() -> None:
        path = target.with_stem(target.stem + (f"-{len(parts)}" if parts else ""))
        np.savez_compressed(path, **pending)  # type: ignore[arg-type]
        parts.append(path)
        pending.clear()

    size = 0
    for name in names:
        image = read_image(folder / name)
        packed = len(zlib.compress(image.tobytes(), 6)) + 512
        if pending and size + packed > limit:
            flush()
            size = 0
        pending[name] = image
        size += packed
    if pending:
        flush()
    return parts


def validation_images(images: Sequence[np.ndarray[Any, Any]], channels: int) -> Tensor:
    """Validation tiles ``(N, channels, 256, 256)`` in [0, 1]: the mean of the bands for one channel, otherwise the first bands.

    Images of another size are left out.

    Raises
    ------
    InputError
        When all of them are.
    """
    tiles = [(i.astype(np.float32).mean(0)[None] if channels == 1 else i[:channels].astype(np.float32)) / full_scale(i) for i in images]
    whole = [t for t in tiles if t.shape[1:] == (256, 256)]
    if not whole:
        sizes = ", ".join(sorted({f"{t.shape[1]} x {t.shape[2]}" for t in tiles})) or "none"
        raise InputError(f"validation images must have 256 x 256 pixels; given are {sizes}: cut them, or name others in the recipe")
    return torch.from_numpy(np.stack(whole))
