"""Products as they are delivered: which rasters, bands, sensor and noise their metadata name."""

from __future__ import annotations

from pathlib import Path

from imaging.errors import InputError
from imaging.sensors.products.dimap import dimap_files, dimap_scene
from imaging.sensors.products.landsat import landsat_file, landsat_scenes
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.products.sentinel2 import sentinel2_file, sentinel2_scenes

__all__ = ["ProductScene", "find_scene", "is_product", "product_scenes"]


def is_product(folder: Path) -> bool:
    """Whether a folder holds metadata of a product this package reads: DIMAP, Sentinel-2 SAFE, Landsat Collection 2."""
    return folder.is_dir() and bool(sentinel2_file(folder) or landsat_file(folder) or dimap_files(folder))


def product_scenes(folder: Path) -> list[ProductScene]:
    """All scenes of a product, one for each ground sample distance.

    Raises
    ------
    InputError
        When metadata or rasters are not complete or of an unknown mission.
    """
    safe, landsat = sentinel2_file(folder), landsat_file(folder)
    if safe is not None:
        return sentinel2_scenes(folder, safe)
    if landsat is not None:
        return landsat_scenes(folder, landsat)
    scenes = [dimap_scene(folder, p) for p in dimap_files(folder)]
    names = [s.name for s in scenes]
    if len(set(names)) < len(names):
        raise InputError(f"{folder} holds several products; give one of their folders: {', '.join(_folders(folder))}")
    return scenes


def _folders(folder: Path) -> list[str]:
    return sorted({str(p.parent) for p in dimap_files(folder)})


def find_scene(path: Path) -> ProductScene | None:
    """The scene that a path names: a product of one scene, one of its scenes as ``PRODUCT/NAME``, or a metadata file; None for no product.

    Raises
    ------
    InputError
        For a product of several scenes, or a name it does not have.
    """
    if is_product(path):
        scenes = product_scenes(path)
        if len(scenes) > 1:
            each = "; ".join(map(str, scenes))
            raise InputError(f"{path} holds scenes of different ground sample distance, which are restored one by one: {each}")
        return scenes[0]
    if path.is_file() and path.suffix.lower() in {".xml", ".txt"}:
        if path in dimap_files(path.parent):
            return dimap_scene(path.parent, path)
        return find_scene(path.parent) if path in {sentinel2_file(path.parent), landsat_file(path.parent)} else None
    if path.exists() or not is_product(path.parent):
        return None
    scenes = product_scenes(path.parent)
    for scene in scenes:
        if scene.name == path.name:
            return scene
    raise InputError(f"{path.parent} has no scene {path.name}; it has {', '.join(s.name for s in scenes)}")
