"""The scenes of a product, and the one that a path names."""

from __future__ import annotations

from pathlib import Path

from imaging.errors import InputError
from imaging.sensors.products.dimap import dimap_scene
from imaging.sensors.products.landsat import landsat_scenes
from imaging.sensors.products.recognition import dimap_files, is_product, landsat_files, sentinel2_file
from imaging.sensors.products.scene import ProductScene
from imaging.sensors.products.sentinel2 import sentinel2_scenes


def product_scenes(folder: Path) -> list[ProductScene]:
    """All scenes of a product, one for each ground sample distance; Landsat's of all products in the folder.

    Raises
    ------
    InputError
        When metadata or rasters are not complete or of an unknown mission.
    """
    safe, landsat = sentinel2_file(folder), landsat_files(folder)
    if safe is not None:
        return sentinel2_scenes(folder, safe)
    if landsat:
        return [s for path in landsat for s in landsat_scenes(folder, path)]
    scenes = [dimap_scene(folder, p) for p in dimap_files(folder)]
    names = [s.name for s in scenes]
    if len(set(names)) < len(names):
        folders = sorted({str(p.parent) for p in dimap_files(folder)})
        raise InputError(f"{folder} holds several products; give one of their folders: {', '.join(folders)}")
    return scenes


def find_scene(path: Path) -> ProductScene | None:
    """The scene that a path names: a product of one scene, one of its scenes as ``PRODUCT/NAME``, or a metadata file; None for no product.

    Raises
    ------
    InputError
        For a product of several scenes, or a name it does not have.
    """
    if is_product(path):
        return _only(path, product_scenes(path))
    folder = path.parent
    if path.is_file() and path.suffix.lower() in {".xml", ".txt"}:
        if path in dimap_files(folder):
            return dimap_scene(folder, path)
        if path in landsat_files(folder):
            return _only(path, landsat_scenes(folder, path))
        safe = sentinel2_file(folder)
        return _only(path, sentinel2_scenes(folder, safe)) if path == safe and safe is not None else None
    if path.exists() or not is_product(folder):
        return None
    scenes = product_scenes(folder)
    for scene in scenes:
        if scene.name == path.name:
            return scene
    raise InputError(f"{folder} has no scene {path.name}; it has {', '.join(s.name for s in scenes)}")


def _only(path: Path, scenes: list[ProductScene]) -> ProductScene:
    if len(scenes) > 1:
        each = "; ".join(map(str, scenes))
        raise InputError(f"{path} holds scenes of different ground sample distance, which are restored one by one: {each}")
    return scenes[0]
