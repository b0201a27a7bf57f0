"""Two grids of one place, panchromatic and multispectral: how many pixels of one make a pixel of the other, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imaging.errors import InputError
from imaging.raster.rational import Values, ground_of, image_of
from imaging.raster.scene import Scene

_RATIOS = range(2, 7)
_DRIFT = 0.25
"""Panchromatic pixels by which grids with geotransforms may drift apart over the smaller scene."""
_ROUGHLY = 0.01
"""What ratios by polynomials may be off, relatively."""
_COARSE = 1.0
"""Panchromatic pixels, standard deviation, from which polynomials place a grid coarsely."""
_POINTS = 33
_HEIGHTS = (-0.5, 0.0, 0.5)
"""Of the scale of heights; their mean is the offset of heights, where a parallax between the two is nil."""


@dataclass(frozen=True)
class GridRelation:
    """How a multispectral grid lies on a panchromatic one.

    Multispectral pixel ``(i, j)``, from 0, covers panchromatic rows ``row + ratio * i`` to ``row + ratio * (i + 1)`` and columns
    ``column + ratio * j`` to ``column + ratio * (j + 1)``.

    Attributes
    ----------
    ratio : int
        Panchromatic pixels to one multispectral pixel along each side, 2 to 6.
    row, column : float
        Where the upper left corner of the multispectral grid's first pixel lies, in panchromatic pixels from the upper left corner of the
        panchromatic grid's first pixel; down and right positive.
    source : str
        How this is known, in a few words.

    Raises
    ------
    InputError
        For another ratio.
    """

    ratio: int
    row: float
    column: float
    source: str

    def __post_init__(self) -> None:
        if self.ratio not in _RATIOS:
            raise InputError(f"the ratio of two grids is {self.ratio}; accepted are whole numbers from {_RATIOS[0]} to {_RATIOS[-1]}")


def relate_grids(ms: Scene, pan: Scene) -> GridRelation:
    """How the grid of a multispectral scene lies on that of a panchromatic one.

    Geotransforms tell it exactly, rational polynomial coefficients as well as they agree. Scenes without either, and those with ground
    control points only, are taken to share the corner of their first pixels.

    Parameters
    ----------
    ms, pan : Scene
        Open; stay so.

    Returns
    -------
    GridRelation
        Offsets are rounded to a millionth of a pixel.

    Raises
    ------
    InputError
        When the ratio is no whole number from 2 to 6, the scenes are turned against each other or
        in different places, or their georeferences cannot be compared.
    """
    a, b = ms.source, pan.source
    if _placed(a) and _placed(b):
        return _by_transforms(ms, pan)
    if a.rpcs and b.rpcs:
        return _by_polynomials(ms, pan)
    if _has_transform(a) and _has_transform(b):
        return _by_transforms(ms, pan)
    if (kinds := (_kind(a), _kind(b))) != (_NOTHING, _NOTHING):
        raise InputError(
            f"{ms.path} has {kinds[0]} and {pan.path} has {kinds[1]}, so that their grids cannot be compared; both need a geotransform, or "
            "both rational polynomial coefficients"
        )
    return _by_sizes(ms, pan)


def check_panchromatic(ms: Scene, pan: Scene) -> None:
    """Refuse several bands in the place of a panchromatic one; `InputError` with their number."""
    if len(pan.bands) > 1:
        raise InputError(
            f"{pan.path} has {len(pan.bands)} image bands; a panchromatic scene, --pan, has one: is it in the place of {ms.path}?"
        )


_NOTHING = "no georeference"


def _has_transform(source: Any) -> bool:
    """Whether a raster has a geotransform; one that only counts pixels, without a system, is none."""
    transform = source.transform
    counts = source.crs is None and (abs(transform.a), transform.b, transform.d, abs(transform.e)) == (1, 0, 0, 1)
    return not (transform.is_identity or counts)


def _placed(source: Any) -> bool:
    return source.crs is not None and _has_transform(source)


def _kind(source: Any) -> str:
    return "a geotransform" if _has_transform(source) else "rational polynomial coefficients" if source.rpcs else _NOTHING


def _system(crs: Any) -> str:
    if crs is None:
        return "none"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]


def _by_transforms(ms: Scene, pan: Scene) -> GridRelation:
    """From geotransforms; of a ratio that is whole within the tolerance, the offsets are those in the middle of the overlap."""
    systems = ms.source.crs, pan.source.crs
    if systems[0] != systems[1]:
        raise InputError(
            f"{ms.path} and {pan.path} have different coordinate reference systems ({' and '.join(map(_system, systems))}); warp one to "
            "the other's first, such as by gdalwarp -t_srs"
        )
    (coarse, coarse_corner), (fine, fine_corner) = _linear(ms), _linear(pan)
    slopes, corner = np.linalg.solve(fine, coarse), np.linalg.solve(fine, coarse_corner - fine_corner)
    extent = np.minimum(_size(ms), _size(pan) / np.abs(np.diag(slopes)).clip(1e-9))
    turned = np.abs(slopes[[0, 1], [1, 0]]) * extent[::-1]
    ratio = _whole_ratio(ms, pan, slopes, bool(turned.max() < _DRIFT), _DRIFT / extent)
    first, last = np.maximum(corner, 0), np.minimum(corner + ratio * _size(ms), _size(pan))
    if (last - first < ratio).any():
        raise _apart(ms, pan, *(_linear(s)[1] + _lattice(s, 2) @ _linear(s)[0].T for s in (ms, pan)))
    middle = ((first + last) / 2 - corner) / ratio
    return _relation(ratio, corner + slopes @ middle - ratio * middle, "geotransforms")


def _by_polynomials(ms: Scene, pan: Scene) -> GridRelation:
    """From rational polynomials, by where both show the same ground, at several heights."""
    heights = [pan.source.rpcs.height_off + k * pan.source.rpcs.height_scale for k in _HEIGHTS]
    seen = [np.concatenate([ground_of(s.source.rpcs, _lattice(s, _POINTS), h) for h in heights]) for s in (ms, pan)]
    ground = np.concatenate(seen)
    ground = ground[np.isfinite(ground).all(1)]
    coarse, fine = (image_of(s.source.rpcs, ground) for s in (ms, pan))
    shared = ((coarse >= 0) & (coarse <= _size(ms)) & (fine >= 0) & (fine <= _size(pan))).all(1)
    coarse, fine = coarse[shared], fine[shared]
    if not len(coarse) or np.linalg.matrix_rank(coarse - coarse.mean(0)) < 2:
        raise _apart(ms, pan, *seen)
    slopes = np.linalg.lstsq(coarse - coarse.mean(0), fine - fine.mean(0), rcond=None)[0].T
    found = np.abs(np.diag(slopes))
    turned = np.abs(slopes[[0, 1], [1, 0]]) / found.clip(1e-9)
    ratio = _whole_ratio(ms, pan, slopes, bool(turned.max() < _ROUGHLY), _ROUGHLY * found)
    offset = (fine - ratio * coarse).mean(0)
    rest = fine - ratio * coarse - offset
    if (largest := np.abs(rest).max()) > 2 * ratio:
        raise InputError(
            f"by their rational polynomial coefficients {ms.path} and {pan.path} drift apart by up to {largest:.3g} panchromatic pixels, "
            "more than two multispectral ones; are they of one moment?"
        )
    source, deviation = "rational polynomial coefficients", float(rest.std(0).max())
    if deviation > _COARSE:
        source += f", coarse: they disagree by {deviation:.2g} panchromatic pixels"
    return _relation(ratio, offset, source)


def _by_sizes(ms: Scene, pan: Scene) -> GridRelation:
    """From the numbers of pixels, which may leave up to one multispectral pixel over."""
    ratios = _size(pan) / _size(ms)
    left_over = ratios.mean().round() / _size(ms) + 1e-9
    ratio = _whole_ratio(ms, pan, np.diag(ratios), True, np.minimum(0.5, left_over))
    return _relation(ratio, np.zeros(2), "sizes")


def _relation(ratio: int, offset: Values, source: str) -> GridRelation:
    column, row = (round(float(n), 6) + 0.0 for n in offset)  # no minus zero
    return GridRelation(ratio, row, column, source)


def _linear(scene: Scene) -> tuple[Values, Values]:
    """The geotransform of columns and rows, as a matrix and the place of the first pixel's corner."""
    t = scene.source.transform
    return np.array([(t.a, t.b), (t.d, t.e)]), np.array((t.c, t.f))


def _size(scene: Scene) -> Values:
    return np.array((scene.width, scene.height), float)


def _lattice(scene: Scene, points: int) -> Values:
    """Columns and rows ``(points**2, 2)``, spread from corner to corner."""
    columns, rows = np.meshgrid(*(np.linspace(0, n, points) for n in _size(scene)))
    return np.stack([columns.ravel(), rows.ravel()], 1)


def _whole_ratio(ms: Scene, pan: Scene, slopes: Values, aligned: bool, tolerance: Values) -> int:
    """The ratio by a linear map from multispectral to panchromatic pixels, if it is one for both axes; refused otherwise."""
    found = np.diag(slopes)
    if not aligned or found.min() <= 0:
        raise InputError(
            f"the grids of {ms.path} and {pan.path} are rotated or flipped against each other; warp one to the other's first, such as by "
            "gdalwarp"
        )
    whole = round(float(found.mean()))
    if whole == 1 and (np.abs(found - 1) <= tolerance).all():
        raise InputError(f"{ms.path} and {pan.path} have pixels of one size (ratio 1); panchromatic pixels have to be 2 to 6 times as fine")
    if found.max() < 1:
        raise InputError(f"the pixels of {pan.path}, the panchromatic scene, are coarser than those of {ms.path}; are the two swapped?")
    if whole not in _RATIOS or (np.abs(found - whole) > tolerance).any():
        across, down = (f"{n:.5g}" for n in found)
        raise InputError(
            f"a pixel of {ms.path} is as wide as {across} and as high as {down} pixels of {pan.path}; accepted is one whole number from "
            f"{_RATIOS[0]} to {_RATIOS[-1]}, so resample one of the two"
        )
    return whole


def _apart(ms: Scene, pan: Scene, ms_ground: Values, pan_ground: Values) -> InputError:
    extents = []
    for ground in (ms_ground, pan_ground):
        (left, bottom), (right, top) = np.nanmin(ground[:, :2], 0), np.nanmax(ground[:, :2], 0)
        extents.append(f"{left:.10g} to {right:.10g} east, {bottom:.10g} to {top:.10g} north")
    return InputError(f"{ms.path} ({extents[0]}) and {pan.path} ({extents[1]}) do not overlap; are they of one place?")
