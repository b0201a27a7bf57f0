"""A scene whose bands or tiles lie in several files, as one: a virtual raster that is never written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from imaging.errors import InputError, one_line
from imaging.raster.opening import checked, opening


@dataclass(frozen=True)
class Part:
    """One band of one file, and where its first pixel lies in the scene."""

    path: Path
    band: int = 1
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Scaling:
    """Physical values of a band: ``scale * DN + offset``, in a unit."""

    scale: float
    offset: float
    unit: str


@dataclass(frozen=True)
class Assembly:
    """What a scene is put together from.

    Attributes
    ----------
    bands : tuple of tuple of Part
        The parts of each band. Georeference and tags are those of the first file that holds the first pixel.
    descriptions : tuple of str
        Of the bands.
    nodata : float or None
        Stored value of pixels that were not measured.
    scaling : tuple of Scaling
        Of the bands; may be empty.
    shape : tuple of int
        Rows and columns that the parts have to add up to; 0 where that is not known.
    stretched : bool
        Whether bands may be of several sizes: each then covers the grid of the largest one, its pixels repeated.
    """

    bands: tuple[tuple[Part, ...], ...]
    descriptions: tuple[str, ...]
    nodata: float | None = None
    scaling: tuple[Scaling, ...] = ()
    shape: tuple[int, int] = (0, 0)
    stretched: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, each once."""
        return tuple(dict.fromkeys(p.path for parts in self.bands for p in parts))

    def virtual(self) -> str:
        """GDAL's description of the virtual raster (VRT), which `rasterio.open` takes in place of a path.

        Raises
        ------
        InputError
            When a file is missing or cannot be read, or the files differ in type, or those of a band in size.
        """
        shapes, types = {}, {}
        for path in self.files:
            shapes[path], types[path] = _look(path)
        if len(set(types.values())) > 1:
            raise InputError(f"{self.files[0].parent} holds rasters of several types ({', '.join(sorted(set(types.values())))})")
        ends = {(max(p.row + shapes[p.path][0] for p in parts), max(p.column + shapes[p.path][1] for p in parts)) for parts in self.bands}
        if len(ends) > 1 and not self.stretched:
            raise InputError(f"{self.files[0].parent} holds bands of several sizes; restore them one by one")
        (height, width), dtype = max(ends), _GDAL_TYPES[next(iter(types.values()))]
        if any(w not in (0, n) for w, n in zip(self.shape, (height, width), strict=True)):
            wanted = f"{self.shape[0]} x {self.shape[1]}"
            raise InputError(f"the rasters in {self.files[0].parent} make {height} x {width} pixels, the metadata say {wanted}")
        whole = {p for p in self.files if shapes[p] == (height, width)} if self.stretched else set(self.files)
        corner = [p.path for parts in self.bands for p in parts if (p.row, p.column) == (0, 0) and p.path in whole]
        if not corner:
            raise InputError(f"the first tile in {self.files[0].parent} is missing: the product is not complete")
        root = _first(corner[0])
        root.set("rasterXSize", str(width))
        root.set("rasterYSize", str(height))
        for kind in ("VRTRasterBand", "OverviewList", "MaskBand"):  # what is not measured is told by the value
            for element in root.findall(kind):
                root.remove(element)
        for number, (parts, description) in enumerate(zip(self.bands, self.descriptions, strict=True), start=1):
            band = ElementTree.SubElement(root, "VRTRasterBand", dataType=dtype, band=str(number))
            ElementTree.SubElement(band, "Description").text = description
            if self.nodata is not None:
                ElementTree.SubElement(band, "NoDataValue").text = f"{self.nodata:g}"
            ElementTree.SubElement(band, "ColorInterp").text = "Gray" if number == 1 else "Undefined"
            if self.scaling:
                scaling = self.scaling[number - 1]
                for name, value in (("UnitType", scaling.unit), ("Offset", repr(scaling.offset)), ("Scale", repr(scaling.scale))):
                    ElementTree.SubElement(band, name).text = value
            for part in parts:
                _source(band, part, shapes[part.path], (height, width) if self.stretched else shapes[part.path])
        return ElementTree.tostring(root, encoding="unicode")


_GDAL_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


@contextmanager
def open_part(path: Path) -> Iterator[Any]:
    """A raster of a product, open.

    Raises
    ------
    InputError
        When it is missing or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: the product is not complete")
    try:
        with opening(), checked(path, rasterio.open(path)) as source:
            yield source
    except RasterioError as error:
        raise InputError(f"{path} is not a raster that can be read ({one_line(error)})") from error


def _look(path: Path) -> tuple[tuple[int, int], str]:
    """Shape and type of a file."""
    with open_part(path) as source:
        dtype = source.dtypes[0]
        if dtype not in _GDAL_TYPES:
            raise InputError(f"{path} holds {dtype}; accepted are {', '.join(_GDAL_TYPES)}")
        return (int(source.height), int(source.width)), dtype


def _first(path: Path) -> ElementTree.Element:
    """A file as a virtual raster, as GDAL writes it: the short way to all of its georeference and tags."""
    with tempfile.TemporaryDirectory() as folder, opening():
        target = Path(folder) / "first.vrt"
        rasterio.shutil.copy(path, target, driver="VRT")
        return ElementTree.fromstring(target.read_text(encoding="utf-8"))


def _source(band: ElementTree.Element, part: Part, shape: tuple[int, int], covered: tuple[int, int]) -> None:
    source = ElementTree.SubElement(band, "SimpleSource")
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(part.path.absolute())
    ElementTree.SubElement(source, "SourceBand").text = str(part.band)
    own, drawn = ({"xSize": str(n[1]), "ySize": str(n[0])} for n in (shape, covered))
    ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0"} | own)
    ElementTree.SubElement(source, "DstRect", {"xOff": str(part.column), "yOff": str(part.row)} | drawn)
