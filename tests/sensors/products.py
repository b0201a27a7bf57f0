"""Small products in the documented layouts, for tests; all their numbers are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from tests.scenes import UTM, smooth, write_scene


def dimap(
    folder: Path, *, mission: str = "PHR", index: str = "1A", spectral: str = "P", files: dict[str, tuple[str, ...]], tile: int = 0,
    radiometry: str = "BASIC", nodata: int = 0, indexed: bool = True, restored: str = "true", acquired: tuple[str, str] = ("", ""),
    stored: NDArray[np.uint16] | None = None, **georeference: Any,
) -> Path:  # fmt: skip
    """A DIMAP v2 folder. ``files`` has for each file name, or tile row of names, the bands it holds; ``tile`` is the rows of a tile.

    ``stored`` are the values of a product of one file, in place of made-up ones; ``georeference`` takes the place of the file's.
    """
    folder.mkdir(parents=True)
    height, width = (96, 96) if stored is None else stored.shape[1:]
    bands = [b for held in files.values() for b in held]
    blocks = []
    for name, held in files.items():
        paths = []
        for row, part in enumerate(name.split()):
            paths.append(f'<Data_File tile_R="{row + 1}" tile_C="1"><DATA_FILE_PATH href="{part}"/></Data_File>')
            values = smooth(len(held), 96, 96, seed=len(blocks)).astype(np.uint16)
            values[:, :5, :5] = nodata
            values = values if stored is None else stored
            corner = Affine(0.5, 0, 371_000, 0, -0.5, 4_826_000 - 0.5 * tile * row)
            values = values[:, tile * row : tile * (row + 1)] if tile else values
            write_scene(folder / part, values, **{"transform": corner, "photometric": "MINISBLACK"} | georeference)
        listed = "".join(f"<Raster_Index><BAND_ID>{b}</BAND_ID><BAND_INDEX>{k}</BAND_INDEX></Raster_Index>" for k, b in enumerate(held, 1))
        index_list = f"<Raster_Index_List>{listed}</Raster_Index_List>" if indexed else ""
        special = f"<SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_COUNT>{nodata}</SPECIAL_VALUE_COUNT>"
        saturated = "<SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_COUNT>4095</SPECIAL_VALUE_COUNT>"
        display = f"<Special_Value>{saturated}</Special_Value><Special_Value>{special}</Special_Value>"
        blocks.append(f"<Data_Files>{''.join(paths)}<Raster_Display>{index_list}{display}</Raster_Display></Data_Files>")
    gains = "".join(
        f"<Band_Radiance><BAND_ID>{b}</BAND_ID><GAIN>{10 + k}</GAIN><BIAS>0.5</BIAS></Band_Radiance>" for k, b in enumerate(bands)
    )
    size = f'<Tile_Set><Regular_Tiling><NTILES_SIZE nrows="{tile}" ncols="96"/></Regular_Tiling></Tile_Set>' if tile else ""
    (folder / f"DIM_{folder.name}.XML").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<Dimap_Document><Metadata_Identification><METADATA_FORMAT version="2.15">DIMAP</METADATA_FORMAT></Metadata_Identification>
<Processing_Information><Product_Settings><PROCESSING_LEVEL>SENSOR</PROCESSING_LEVEL>
<SPECTRAL_PROCESSING>{spectral}</SPECTRAL_PROCESSING>
<Radiometric_Settings><RADIOMETRIC_PROCESSING>{radiometry}</RADIOMETRIC_PROCESSING>
<MTF_Settings><PAN_RESTORATION>{restored}</PAN_RESTORATION><MS_RESTORATION>{restored}</MS_RESTORATION></MTF_Settings>
</Radiometric_Settings></Product_Settings></Processing_Information>
<Dataset_Sources><Source_Identification><Strip_Source><MISSION>{mission}</MISSION><MISSION_INDEX>{index}</MISSION_INDEX>
<IMAGING_DATE>{acquired[0]}</IMAGING_DATE><IMAGING_TIME>{acquired[1]}</IMAGING_TIME></Strip_Source>
</Source_Identification></Dataset_Sources>
<Raster_Data><Raster_Dimensions><NROWS>{height}</NROWS><NCOLS>{width}</NCOLS>{size}</Raster_Dimensions><Raster_Encoding><NBITS>16</NBITS></Raster_Encoding>
<Data_Access>{"".join(blocks)}</Data_Access></Raster_Data>
<Radiometric_Data><Radiometric_Calibration><Instrument_Calibration><Band_Measurement_List>{gains}</Band_Measurement_List>
</Instrument_Calibration></Radiometric_Calibration></Radiometric_Data></Dimap_Document>
""", encoding="utf-8")  # fmt: skip
    return folder


S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_SIZES = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60, "B10": 60}


def sentinel2(
    folder: Path, *, level: str = "1C", offset: int | None = -1000, noise: bool = True, bands: tuple[str, ...] = S2_BANDS,
    values: dict[str, NDArray[np.uint16]] | None = None,
) -> Path:  # fmt: skip
    """A SAFE folder: ALPHA is 1 + k / 10 and BETA 0.05 for band number k, physical gain 4, irradiance 1500, U 1.02, sun zenith 60 deg.

    ``values`` are the stored ones of a band, ``(rows, columns)``, in place of made-up ones.
    """
    granule = folder / "GRANULE" / "L1C_T31TCJ_A000001_20240501T105000"
    images = []
    for band in bands:
        size = S2_SIZES.get(band, 20)
        side = 960 // size
        sub = f"IMG_DATA/R{size}m/T31TCJ_20240501T105031_{band}_{size}m" if level == "2A" else f"IMG_DATA/T31TCJ_20240501T105031_{band}"
        path = granule / f"{sub}.jp2"
        path.parent.mkdir(parents=True, exist_ok=True)
        made = (smooth(1, side, side) + 1000).astype(np.uint16)
        made[:, :3, :3] = 0
        stored = values[band][None] if values else made
        settings: dict[str, Any] = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "tiled": False, "blocksize": 64}
        write_scene(path, stored, **UTM | {"transform": Affine(size, 0, 300_000, 0, -size, 4_900_020)} | settings)
        images.append(f"<IMAGE_FILE>{granule.relative_to(folder)}/{sub}</IMAGE_FILE>")
    numbers = range(len(S2_BANDS))
    kind = "BOA_ADD_OFFSET" if level == "2A" else "RADIO_ADD_OFFSET"
    offsets = "" if offset is None else "".join(f'<{kind} band_id="{k}">{offset}</{kind}>' for k in numbers)
    quantum = "BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE"
    gains = "".join(f'<PHYSICAL_GAINS bandId="{k}">4.0</PHYSICAL_GAINS>' for k in numbers)
    suns = "".join(f'<SOLAR_IRRADIANCE bandId="{k}" unit="W/m2/um">1500</SOLAR_IRRADIANCE>' for k in numbers)
    (folder / f"MTD_MSIL{level}.xml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-1C.xsd"><n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2024-05-01T10:50:31.024Z</PRODUCT_START_TIME><Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>
<Product_Organisation><Granule_List><Granule>{"".join(images)}</Granule></Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
</Special_Values><{quantum} unit="none">10000</{quantum}><Radiometric_Offset_List>{offsets}</Radiometric_Offset_List>
<Reflectance_Conversion><U>1.02</U><Solar_Irradiance_List>{suns}</Solar_Irradiance_List></Reflectance_Conversion>{gains}
</Product_Image_Characteristics></n1:General_Info></n1:User_Product>
""", encoding="utf-8")  # fmt: skip
    (granule / "MTD_TL.xml").write_text(
        '<n1:Tile xmlns:n1="x"><Tile_Angles><Sun_Angles_Grid/><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">60.0</ZENITH_ANGLE>'
        "</Mean_Sun_Angle></Tile_Angles></n1:Tile>"
    )
    if noise:
        coefficients = (f"<ALPHA>{1 + k / 10}</ALPHA><BETA>0.05</BETA>" for k in numbers)
        models = "".join(
            f'<Radiometric_Quality bandId="{k}"><Noise_Model>{c}</Noise_Model></Radiometric_Quality>' for k, c in enumerate(coefficients)
        )
        strip = folder / "DATASTRIP" / "DS_1"
        strip.mkdir(parents=True)
        inside = f"<Quality_Indicators_Info><Radiometric_Info>{models}</Radiometric_Info></Quality_Indicators_Info>"
        (strip / "MTD_DS.xml").write_text(f'<n1:Strip xmlns:n1="x">{inside}</n1:Strip>')
    return folder


def landsat(
    folder: Path, *, spacecraft: str = "LANDSAT_8", bands: tuple[int, ...] = (2, 3, 4, 5, 8, 10), level: str = "L1TP",
    values: dict[int, NDArray[np.uint16]] | None = None, pan_corner: float = 0.0,
) -> Path:  # fmt: skip
    """A Collection 2 folder; level 2 repeats the names of level 1, which are not delivered.

    ``values`` are the stored ones of a band, ``(rows, columns)``, in place of made-up ones. The panchromatic grid begins ``pan_corner``
    metres further right and down than the others.
    """
    folder.mkdir(parents=True)
    lines = ["GROUP = LANDSAT_METADATA_FILE", "  GROUP = PRODUCT_CONTENTS", f'    PROCESSING_LEVEL = "{level}"']
    for band in bands:
        name = f"LC08_L1TP_198030_20240501_B{band}.TIF"
        side, size = (192, 15.0) if band == 8 else (96, 30.0)
        made = (smooth(1, side, side) * 10).astype(np.uint16)
        made[:, :4, :4] = 0
        corner = pan_corner if band == 8 else 0
        transform = Affine(size, 0, 300_000 + corner, 0, -size, 4_900_000 - corner)
        write_scene(folder / name, values[band][None] if values else made, transform=transform)
        lines.append(f'    FILE_NAME_BAND_{band} = "{name}"')
    lines += [
        "  END_GROUP = PRODUCT_CONTENTS",
        "  GROUP = IMAGE_ATTRIBUTES",
        f'    SPACECRAFT_ID = "{spacecraft}"',
        "    DATE_ACQUIRED = 2024-05-01",
        '    SCENE_CENTER_TIME = "10:30:05.1234560Z"',
        "    SUN_ELEVATION = 50.5",
    ]
    lines += ["  END_GROUP = IMAGE_ATTRIBUTES"]
    if level != "L1TP":
        lines += ["  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"]
        lines += [f"    REFLECTANCE_{k}_BAND_{b} = {v}" for b in bands for k, v in (("MULT", 2.75e-05), ("ADD", -0.2))]
        lines += ["  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "  GROUP = LEVEL1_PROCESSING_RECORD"]
        lines += ['    PROCESSING_LEVEL = "L1TP"', '    FILE_NAME_BAND_8 = "LC08_L1TP_198030_20240501_B8.TIF"']
        lines += ["  END_GROUP = LEVEL1_PROCESSING_RECORD"]
    lines += ["  GROUP = LEVEL1_RADIOMETRIC_RESCALING"]
    lines += [f"    REFLECTANCE_{k}_BAND_{b} = {v}" for b in bands for k, v in (("MULT", 2e-05), ("ADD", -0.1))]
    lines += ["  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING", "END_GROUP = LANDSAT_METADATA_FILE", "END"]
    (folder / "LC08_L1TP_198030_20240501_MTL.txt").write_text("\n".join(lines) + "\n")
    return folder


def values_of(path: Path) -> np.ndarray[Any, Any]:
    """Pixels of a raster."""
    with rasterio.open(path) as source:
        return np.asarray(source.read())
