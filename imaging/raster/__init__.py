"""GeoTIFF in and out: windows, tiles, masks, georeference, cloud-optimised output."""

from __future__ import annotations

from imaging.raster.assembly import Assembly, Part, Scaling
from imaging.raster.magnified import Magnified
from imaging.raster.scene import SUFFIXES, Area, Scene, Statistics, statistics
from imaging.raster.tiles import Tile, TilePlan, check_halo, check_side
from imaging.raster.writer import Product, TileStore, disk_errors, has_tag, partial_folder, publish, write_product

__all__ = [
    "SUFFIXES",
    "Area",
    "Assembly",
    "Magnified",
    "Part",
    "Product",
    "Scaling",
    "Scene",
    "Statistics",
    "Tile",
    "TilePlan",
    "TileStore",
    "check_halo",
    "check_side",
    "disk_errors",
    "has_tag",
    "partial_folder",
    "publish",
    "statistics",
    "write_product",
]
