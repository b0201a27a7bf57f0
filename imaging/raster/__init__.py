"""GeoTIFF in and out: windows, tiles, masks, georeference, cloud-optimised output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.former import former_names
from imaging.raster.assembly import Assembly, Part, Scaling, open_part
from imaging.raster.magnified import Magnified
from imaging.raster.opening import SUFFIXES
from imaging.raster.scene import Area, Scene, Statistics, statistics
from imaging.raster.store import TileStore, disk_errors, partial_folder, temporary, write_whole
from imaging.raster.style import has_own_style, style_of
from imaging.raster.summary import summarise
from imaging.raster.tiles import Tile, TilePlan, check_halo, check_side
from imaging.raster.values import as_stored, check_values, filled
from imaging.raster.writer import Output, has_tag, publish, write_output, write_style

__all__ = [
    "SUFFIXES", "Area", "Assembly", "Magnified", "Output", "Part", "Scaling", "Scene", "Statistics", "Tile", "TilePlan", "TileStore",
    "as_stored", "check_halo", "check_side", "check_values", "disk_errors", "filled", "has_own_style", "has_tag", "open_part",
    "partial_folder", "publish", "statistics", "style_of", "summarise", "temporary", "write_output", "write_style", "write_whole",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(
        __name__, Product="imaging.raster.Output", write_product="imaging.raster.write_output",
        Summary="imaging.raster.summary.Summary", sync="imaging.raster.store.sync",
    )  # fmt: skip
