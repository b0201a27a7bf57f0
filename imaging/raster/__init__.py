"""GeoTIFF in and out: windows, tiles, masks, georeference, cloud-optimised output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.names import SUFFIXES
    from imaging.raster.areas import Area
    from imaging.raster.assembly import Assembly, Part, Scaling, open_part
    from imaging.raster.grids import GridRelation, check_panchromatic, relate_grids
    from imaging.raster.hidden import partial_folder, temporary
    from imaging.raster.magnified import Magnified
    from imaging.raster.scene import Scene, Statistics, statistics
    from imaging.raster.sharpened import Sharpened
    from imaging.raster.store import TileStore, disk_errors, write_whole
    from imaging.raster.style import has_own_style, style_of
    from imaging.raster.summary import summarise
    from imaging.raster.tiles import Tile, TilePlan, check_halo, check_side
    from imaging.raster.values import as_stored, check_values, filled
    from imaging.raster.writer import Output, has_tag, publish, write_output, write_style
else:
    _modules = {
        "imaging.names": "SUFFIXES",
        "imaging.raster.areas": "Area",
        "imaging.raster.assembly": "Assembly Part Scaling open_part",
        "imaging.raster.grids": "GridRelation check_panchromatic relate_grids",
        "imaging.raster.hidden": "partial_folder temporary",
        "imaging.raster.magnified": "Magnified",
        "imaging.raster.scene": "Scene Statistics statistics",
        "imaging.raster.sharpened": "Sharpened",
        "imaging.raster.store": "TileStore disk_errors write_whole",
        "imaging.raster.style": "has_own_style style_of",
        "imaging.raster.summary": "summarise",
        "imaging.raster.tiles": "Tile TilePlan check_halo check_side",
        "imaging.raster.values": "as_stored check_values filled",
        "imaging.raster.writer": "Output has_tag publish write_output write_style",
    }
    __getattr__, __dir__ = on_first_use(
        __name__, _modules, Product="imaging.raster.Output", write_product="imaging.raster.write_output",
        Summary="imaging.raster.summary.Summary", sync="imaging.raster.store.sync",
    )  # fmt: skip

__all__ = [
    "SUFFIXES", "Area", "Assembly", "GridRelation", "Magnified", "Output", "Part", "Scaling", "Scene", "Sharpened", "Statistics", "Tile",
    "TilePlan", "TileStore", "as_stored", "check_halo", "check_panchromatic", "check_side", "check_values", "disk_errors", "filled",
    "has_own_style", "has_tag", "open_part", "partial_folder", "publish", "relate_grids", "statistics", "style_of", "summarise",
    "temporary", "write_output", "write_style", "write_whole",
]  # fmt: skip
