"""Which folders and files are products', by their names alone."""

from __future__ import annotations

from pathlib import Path

_DIMAP = ("DIM_*.XML", "PHRDIMAP_*.XML", "DIM_*.xml")


def is_product(folder: Path) -> bool:
    """Whether a folder holds metadata of products this package reads: DIMAP, Sentinel-2 SAFE, Landsat Collection 2."""
    return folder.is_dir() and bool(sentinel2_file(folder) or landsat_files(folder) or dimap_files(folder))


def is_open(folder: Path) -> bool:
    """Whether a product's folder is no package of its own: Landsat's files come without one, and others may lie below it."""
    return not sentinel2_file(folder) and bool(landsat_files(folder))


def dimap_files(folder: Path) -> list[Path]:
    """Metadata files of the scenes of a product: in its folder or, beside the volume's file ``VOL_*.XML``, in the folders below."""
    places = ["", "*/"] if any(folder.glob("VOL_*.XML")) else [""]
    return sorted({p for pattern in _DIMAP for place in places for p in folder.glob(place + pattern)})


def landsat_files(folder: Path) -> list[Path]:
    """Metadata files of the products that lie in a folder."""
    return sorted(folder.glob("*_MTL.txt"))


def sentinel2_file(folder: Path) -> Path | None:
    """The product's metadata file."""
    return next(iter(sorted([*folder.glob("MTD_MSIL1C.xml"), *folder.glob("MTD_MSIL2A.xml")])), None)
