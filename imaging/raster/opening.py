"""Opening rasters: GDAL's settings, and one sentence for what cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from PIL.JpegImagePlugin import JpegImageFile
from rasterio._err import CPLE_BaseError  # what rasterio's properties raise; no public name
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from imaging.errors import InputError, missing, one_line
from imaging.names import SUFFIXES

_GDAL = {"GDAL_CACHEMAX": 64 * 2**20}  # bytes; GDAL's default is a share of the machine's memory


def gdal() -> rasterio.Env:
    """GDAL settings of this package."""
    return rasterio.Env(**_GDAL)


@contextmanager
def opening() -> Iterator[None]:
    """`gdal`, and no warnings of missing georeference; not for one thread of several, as all of them share the filters of warnings."""
    with gdal(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def checked(path: Path, source: Any) -> Any:
    """A raster that GDAL has opened, checked for what makes it useless and what GDAL says only later, or never.

    `InputError` for a coordinate reference system that PROJ refuses, and a JPEG whose tables contradict its length: libjpeg decodes it to
    anything.
    """
    try:
        _ = source.crs, source.colorinterp  # what PROJ complains of comes with the next call
        if source.driver == "JPEG" and source.dtypes[0] == "uint8":
            JpegImageFile(path).close()
    except (CPLE_BaseError, SyntaxError) as error:
        source.close()
        if isinstance(error, SyntaxError):
            raise InputError(f"{path} is a JPEG that cannot be decoded ({one_line(error)}); write it again from its source") from error
        raise InputError(
            f"the coordinate reference system of {path} cannot be used ({one_line(error)}); give it another, such as by gdal_edit.py -a_srs"
        ) from error
    return source


def open_raster(path: Path, virtual: str | None = None) -> Any:
    """A raster, open, or a virtual one that a path names; `InputError` when it is missing or cannot be read."""
    try:
        if virtual is not None:
            with opening():
                return rasterio.open(virtual)
        if path.is_dir():
            rasters = sorted(p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if rasters:
                raise InputError(f"{path} is a folder; give one raster such as {path / rasters[0]}")
            raise InputError(f"{path} is a folder without rasters; give a raster file such as scene.tif")
        if not path.is_file():
            raise InputError(missing(path))
        with opening():
            return checked(path, rasterio.open(path))
    except RasterioError as error:
        raise InputError(
            f"{path} is not a raster that can be read ({one_line(error)}); accepted is what GDAL reads, such as GeoTIFF"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
