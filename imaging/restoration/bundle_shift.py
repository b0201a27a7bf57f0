"""The shift of a bundle's grids against each other: found, checked, and told."""

from __future__ import annotations

import math

import numpy as np

from imaging.errors import InputError
from imaging.fusion import BundleArea, Drift, FoundShift, constant_drift, find_drift, find_shift, search_shift
from imaging.names import NONE
from imaging.sensors import SensorPhysics

Placed = tuple[tuple[float, float], FoundShift]
"""A shift, and the sharp row and column where it was found."""
Sides = tuple[SensorPhysics, SensorPhysics]
_UNEXPLAINED = 0.5
"""Share of the panchromatic band's structure, as the coarse bands would have seen it, that they may leave unexplained."""
_SEVERAL = 4
"""Areas from which on their scatter tells the error of a shift."""
_FAR = 2
"""Coarse pixels by which the grids may be off."""
_SEARCHED = 4
"""Areas in which a large shift is looked for."""


def scene_drift(
    areas: list[BundleArea], places: list[tuple[float, float]], sensors: Sides, told: tuple[float, float],
    wanted: tuple[float, float] | str,
) -> tuple[Drift, list[Placed]]:  # fmt: skip
    """The shift all over the scene, and those of the areas that it was found from, against what the files have ``told``.

    ``places`` are the areas' middles, sharp rows and columns, ``sensors`` those of the told shift, ``wanted`` is `FuseOptions.pan_shift`.
    `InputError` for a shift too large to be one.
    """
    if not isinstance(wanted, str):
        right, down = (a + b for a, b in zip(told, wanted, strict=True))
        return constant_drift(right, down), []
    still, ratio = constant_drift(*told), sensors[1].factor
    if areas[0].sharp.shape[1] > 1:
        return still, []  # bands of one product, on one grid

    def all_of(start: tuple[float, float]) -> list[Placed]:
        shifts = (find_shift(a.sharp, a.coarse, sensors, a.valid(ratio), start) for a in areas)
        return [(place, s) for place, s in zip(places, shifts, strict=True) if s is not None]

    found = all_of((0.0, 0.0))
    if found and not _plausible(found, ratio) and wanted != NONE:
        largest = sorted(areas, key=lambda a: -float(a.valid(ratio).sum()))[:_SEARCHED]
        guesses = [g for a in largest if (g := search_shift(a.sharp, a.coarse, sensors, a.valid(ratio), (_FAR + 1) * ratio)) is not None]
        if guesses:
            found = all_of((float(np.median([g[0] for g in guesses])), float(np.median([g[1] for g in guesses])))) or found
        far = max(abs(v) for v in _median(found))
        if far > _FAR * ratio and _residual(found) < _UNEXPLAINED:
            raise InputError(
                f"the panchromatic band lies {far / ratio:.1f} multispectral pixels off; up to {_FAR} are taken, give --pan-shift DX,DY "
                "in panchromatic pixels or register the two first"
            )
    if wanted == NONE or not found:
        return still, found
    return find_drift(found, told), found


def _plausible(found: list[Placed], ratio: int) -> bool:
    """Whether shifts found without a search are near the truth."""
    return _residual(found) < 0.1 and max(abs(v) for v in _median(found)) < ratio / 2


def _residual(found: list[Placed]) -> float:
    """Share of the sharp band's structure that is unexplained, in the middle of the areas."""
    return float(np.median([s.residual for _, s in found]))


def _median(found: list[Placed]) -> tuple[float, float]:
    return float(np.median([s.right for _, s in found])), float(np.median([s.down for _, s in found]))


def check_match(found: list[Placed], title: str) -> None:
    """Refuse what does not hang together."""
    residual = _residual(found)
    if residual > _UNEXPLAINED:
        raise InputError(
            f"the panchromatic band does not match {title}: they leave {residual:.0%} of its structure unexplained; are both of one place "
            "and one date, and no clouds between?"
        )


def error_of(found: list[Placed]) -> float:
    """Standard error of a shift: by those of its areas, or by how much these differ where that is more; panchromatic pixels."""
    told = max(float(np.median([s.right_error for _, s in found])), float(np.median([s.down_error for _, s in found])))
    values = np.array([(s.right, s.down) for _, s in found])
    scatter = float(np.median(np.abs(values - np.median(values, 0)), 0).max()) / 0.6745 if len(found) >= _SEVERAL else 0.0
    return max(told, scatter) / math.sqrt(len(found))


def said_of(drift: Drift, told: tuple[float, float], found: list[Placed]) -> str:
    """What the user should know of the shift."""
    right, down = (a - b for a, b in zip(drift.middle, told, strict=True))
    error = error_of(found)
    text = f"shift of the multispectral grid: {right:+.3f} right, {down:+.3f} down, panchromatic pixels, standard error {error:.3f}"
    return text + (f"; it varies by {drift.range:.2f} over the scene" if drift.range else "")
