"""Straight slanted edges in a scene: finding them, and measuring the width of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import atan, cos, radians, tan

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares
from scipy.special import ndtr

Array = NDArray[np.float64]

STEPS = 4
"""Samples of an edge profile to a pixel."""
REACH = 5
"""Pixels of an edge profile on either side."""
_HALF = 8
"""Rows of an edge above and below its middle."""
_FLAT_FROM = 3.0
"""Distance from the edge where its sides must be flat, pixels."""
_CONTRAST = 20.0
"""Least step across an edge, in noise standard deviations."""
_MOST = 2000
"""Candidates of one direction of an area that are looked at closely, the strongest first."""
_SLOPES = tan(radians(3)), tan(radians(15))


@dataclass(frozen=True)
class Edge:
    """One edge across which brightness steps.

    ``row`` and ``column`` are its middle in pixels of the area, which is transposed for horizontal edges, and ``angle`` is off the pixel
    axis, in radians. The step ``height`` is in DN, whichever side is brighter. ``variance`` of the Gaussian line spread across the edge is
    in pixels squared, ``error`` the standard error that the fit gives it. ``profile`` is the supersampled edge spread function,
    ``(2 * REACH * STEPS,)``, 0 on the left side and 1 on the right one; nan where no pixel fell.
    """

    row: float
    column: float
    angle: float
    height: float
    variance: float
    error: float
    profile: Array


def distances() -> Array:
    """Distance of each sample of `Edge.profile` from the edge, pixels."""
    return (np.arange(2 * REACH * STEPS) + 0.5) / STEPS - REACH


def find_edges(values: Array, good: NDArray[np.bool_], noise_at: Callable[[float], float]) -> list[Edge]:
    """Edges 3 to 15 degrees off the columns of an area ``(h, w)`` in DN; transpose it for those off the rows.

    All pixels around an edge are ``good``; ``noise_at`` gives the noise standard deviation at a level. Edges are at least 20 noise
    deviations high and straight to a quarter of a pixel over 17 rows, with flat sides 3 to 5 pixels away.
    """
    if min(values.shape) < 2 * _HALF + 1:
        return []
    taken = np.zeros(values.shape, dtype=bool)
    slope_across = gaussian_filter(values, 1.0, order=(0, 1))
    edges = []
    for row, column, slope in _candidates(values, good, slope_across, noise_at):
        if taken[row, column]:
            continue
        edge = _measure(values, good, slope_across, row, column, slope, noise_at)
        if edge is not None:
            edges.append(edge)
            rows = np.arange(max(row - 2 * _HALF, 0), min(row + 2 * _HALF + 1, len(values)))
            middle = np.rint(edge.column + tan(edge.angle) * (rows - edge.row)).astype(int)
            for shift in range(-4, 5):
                inside = (middle + shift >= 0) & (middle + shift < values.shape[1])
                taken[rows[inside], middle[inside] + shift] = True
    return edges


def _candidates(
    values: Array, good: NDArray[np.bool_], across: Array, noise_at: Callable[[float], float]
) -> Iterator[tuple[int, int, float]]:
    """Places on ridges of the gradient along rows where its direction is the same all around, strongest first, with the edge's slope."""
    along = gaussian_filter(values, 1.0, order=(1, 0))
    xx, yy, xy = (gaussian_filter(a * b, 3.0) for a, b in ((across, across), (along, along), (across, along)))
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-300)
    angle = np.arctan2(2 * xy, xx - yy) / 2  # of the gradient from the direction of rows
    slope = np.abs(np.tan(angle))
    strength = np.abs(across)
    # An edge of height h and total width 1.6 px has a greatest slope of h / (1.6 sqrt(2 pi)).
    least = _CONTRAST * noise_at(float(np.median(values[good]))) / 4 if good.any() else np.inf
    ridge = np.zeros_like(good)
    ridge[:, 1:-1] = (strength[:, 1:-1] >= strength[:, :-2]) & (strength[:, 1:-1] > strength[:, 2:])
    ridge &= good & (strength > least) & (coherence > 0.75) & (slope > 0.6 * _SLOPES[0]) & (slope < 1.2 * _SLOPES[1])
    ridge[:_HALF] = ridge[-_HALF:] = False
    rows, columns = np.nonzero(ridge)
    order = np.argsort(-(strength * coherence**4)[rows, columns])[:_MOST]
    for row, column in zip(rows[order], columns[order], strict=True):
        yield int(row), int(column), float(-np.tan(angle[row, column]))


def _straight(across: Array, row: int, column: int, slope: float) -> tuple[float, float] | None:
    """Column at the middle row, and slope, of the line through the gradient's centroids of each row; None where they do not lie on one."""
    rows = np.arange(-_HALF, _HALF + 1)
    start, sign = float(column), np.sign(across[row, column])
    for reach in (3, 2, 2):
        middle = np.rint(start + slope * rows).astype(int)
        columns = middle[:, None] + np.arange(-reach, reach + 1)
        if columns.min() < 0 or columns.max() >= across.shape[1]:
            return None
        weight = np.maximum(sign * across[row + rows[:, None], columns], 0.0)
        total = weight.sum(1)
        if total.min() <= 0.3 * np.median(total):
            return None
        centre = (weight * columns).sum(1) / total
        slope, start = (float(v) for v in np.polyfit(rows, centre, 1))
    residual = centre - start - slope * rows
    return (start, slope) if residual.std() < 0.25 and _SLOPES[0] <= abs(slope) <= _SLOPES[1] else None


def _measure(
    values: Array, good: NDArray[np.bool_], across: Array, row: int, column: int, slope: float, noise_at: Callable[[float], float]
) -> Edge | None:  # fmt: skip
    """Fit of a Gaussian-blurred step to all pixels within reach of a candidate; None for what is no isolated edge with flat sides."""
    line = _straight(across, row, column, slope)
    if line is None:
        return None
    start, slope = line
    width = REACH + int(np.ceil(_HALF * abs(slope))) + 1
    first, last = round(start) - width, round(start) + width + 1
    window = np.s_[row - _HALF : row + _HALF + 1, first:last]
    if first < 0 or last > values.shape[1] or not good[window].all():
        return None
    y, x = np.mgrid[-_HALF : _HALF + 1, first:last].astype(float)
    distance = (x - start - slope * y) * cos(atan(slope))
    near = np.abs(distance) <= REACH
    y, x, distance, z = y[near], x[near], distance[near], values[window][near]
    sides = [z[distance < -_FLAT_FROM], z[distance > _FLAT_FROM]]
    low, high = (float(np.median(s)) for s in sides)
    noise = np.array([noise_at(low), noise_at(high)])
    height = high - low
    if abs(height) < _CONTRAST * noise.max():
        return None
    # Flat: no more than 12 % of the step beyond the noise.
    if any(s.std() > np.hypot(1.2 * n, 0.12 * abs(height)) for s, n in zip(sides, noise, strict=True)):
        return None

    def model(p: Array) -> Array:
        d = (x - p[0] - p[1] * y) / np.sqrt(1 + p[1] ** 2)
        return np.asarray(p[2] + p[3] * ndtr(d / p[4]))

    share = ndtr(distance / 0.7)
    weight = 1 / np.hypot(noise[0] * (1 - share) + noise[1] * share, 0.01 * abs(height))
    fit = least_squares(
        lambda p: (model(p) - z) * weight, [start, slope, low, height, 0.7], bounds=([-np.inf] * 4 + [0.05], [np.inf] * 4 + [3.0])
    )
    p = fit.x
    slope = float(p[1])
    distance = (x - p[0] - slope * y) / np.sqrt(1 + slope**2)
    residual = model(p) - z
    excess = float((residual * weight).std())
    profile = _profile(distance, (z - p[2]) / p[3])
    misfit = profile - ndtr(distances() / p[4])
    core = np.abs(distances()) < 2
    if np.isnan(profile[core]).any() or np.sqrt(np.nanmean(misfit**2)) > 0.06 or not _SLOPES[0] <= abs(slope) <= _SLOPES[1]:
        return None
    try:
        covariance = np.linalg.inv(fit.jac.T @ fit.jac) * max(excess, 1.0) ** 2
    except np.linalg.LinAlgError:
        return None
    sigma = float(p[4])
    return Edge(float(row), float(p[0]), atan(slope), abs(float(p[3])), sigma**2, 2 * sigma * float(np.sqrt(covariance[4, 4])), profile)


def _profile(distance: Array, values: Array) -> Array:
    """Means of normalised values in steps of a quarter pixel of distance, from the left side to the right one."""
    index = np.floor((distance + REACH) * STEPS).astype(int)
    inside = (index >= 0) & (index < 2 * REACH * STEPS)
    total = np.bincount(index[inside], values[inside], 2 * REACH * STEPS)
    count = np.bincount(index[inside], minlength=2 * REACH * STEPS)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
