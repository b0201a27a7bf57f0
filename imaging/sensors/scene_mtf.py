"""Sharpness of a scene whose sensor is not known: the MTF of slanted edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from imaging.errors import InputError
from imaging.sensors.blocks import Sample, unclipped
from imaging.sensors.edges import Edge, distances, find_edges
from imaging.sensors.scene_noise import NoiseEstimate

Array = NDArray[np.float64]

NEEDED = 5
"""Least number of edges of one direction."""
_SOFTEST = 0.005
"""MTF at Nyquist below which edges tell of their objects, not of the sensor."""
_SHARPEST = 0.9
SHARPENED = 0.03
"""Overshoot above which a scene counts as restored or sharpened."""
_REPEATS = 40


@dataclass(frozen=True)
class MtfEstimate:
    """Sharpness of one band of a scene.

    Attributes
    ----------
    nyquist : tuple of float
        MTF at 0.5 cycles per pixel, across and along track (along rows and along columns of the scene), the pixel's aperture included.
    error : tuple of float
        One standard error each, by a bootstrap over edges.
    edges : tuple of int
        Usable edges of either direction.
    overshoot : float
        Mean of how far the edge spread function exceeds its two sides, as a fraction of the step; above 0.03 the scene was sharpened.
    shape : str
        ``gaussian``.
    notes : tuple of str
        What a user should know, a sentence each.
    """

    nyquist: tuple[float, float]
    error: tuple[float, float]
    edges: tuple[int, int]
    overshoot: float
    shape: str = "gaussian"
    notes: tuple[str, ...] = ()


def _nyquist(variance: float) -> float:
    """MTF at Nyquist of a Gaussian line spread; the inverse of `imaging.sensors.mtf.gaussian_sigma`."""
    return math.exp(-(math.pi**2) * variance / 2)


def _floor(variance: Array, error: Array, first: float | None = None) -> float:
    """The variance of the sharpest edges: maximum likelihood of a stochastic frontier.

    An edge is as wide as the sensor makes it, or softer by an exponentially distributed amount, with a Gaussian error; one in twenty is
    anything. Where all edges are alike this is their mean, and where many are soft it is the sharp end of their distribution.
    """

    def cost(p: Array) -> float:
        floor, soft, jitter = np.exp(np.clip(p[:3], -12.0, 5.0))
        sharp = 0.95 / (1 + math.exp(-min(max(p[3], -6.0), 6.0)))
        s = np.hypot(error, jitter * floor)
        z = (variance - floor) / s
        exponential = -math.log(soft) - z * s / soft + s**2 / (2 * soft**2) + log_ndtr(z - s / soft)
        normal = -(z**2) / 2 - np.log(s) - math.log(2 * math.pi) / 2
        frontier = np.logaddexp(math.log(sharp) + normal, math.log(0.95 - sharp) + exponential)
        # Mild preferences keep the two kinds apart: an error of some 5 % beyond that of the fit, and a quarter of the edges sharp.
        preference = 0.5 * (math.log(jitter / 0.05) / 0.3) ** 2 + 0.5 * (p[3] + 1) ** 2
        return float(preference - np.logaddexp(frontier, math.log(0.05 / 3)).sum())

    middle = float(np.median(variance))
    floors = np.quantile(variance, (0.05, 0.25)) if first is None else (first,)
    starts = [[*np.log([max(float(f), 1e-3), s * middle, 0.05]), -1.0] for f in floors for s in ((0.3, 1.0) if first is None else (0.6,))]
    settings = {"xatol": 1e-3, "fatol": 1e-2, "maxiter": 400}
    best = min((minimize(cost, s, method="Nelder-Mead", options=settings) for s in starts), key=lambda f: float(f.fun))
    floor, _, jitter = np.exp(best.x[:3])
    # No sharper than at least three edges bear out.
    borne_out = float(np.sort(variance - np.hypot(error, jitter * floor))[2])
    return max(float(floor), borne_out, 1e-3)


def _along_axis(edges: list[Edge], other: float) -> tuple[Array, Array]:
    """Variances along the axis that edges measure, with what the other axis adds on a slant taken off, and their errors."""
    tilt = np.array([math.sin(e.angle) ** 2 for e in edges])
    measured, error = np.array([e.variance for e in edges]), np.array([e.error for e in edges])
    return np.maximum((measured - tilt * other) / (1 - tilt), 1e-3), error / (1 - tilt)


def _solve(found: tuple[list[Edge], list[Edge]]) -> tuple[float, float]:
    """Variances of the line spread along both axes, nan for one without enough edges."""
    result = [_floor(*_along_axis(e, 0.0)) if len(e) >= NEEDED else math.nan for e in found]
    for k in (0, 1):
        if len(found[k]) >= NEEDED:
            result[k] = _floor(*_along_axis(found[k], result[1 - k] if math.isfinite(result[1 - k]) else result[k]))
    return result[0], result[1]


def _spread(edges: list[Edge], own: float, other: float) -> float:
    """Standard deviation of the MTF at Nyquist over draws of the edges with replacement; nan without enough of them."""
    if len(edges) < NEEDED:
        return math.nan
    rng = np.random.default_rng(0)
    variance, error = _along_axis(edges, other if math.isfinite(other) else own)
    draws = (rng.integers(len(edges), size=len(edges)) for _ in range(_REPEATS))
    return float(np.std([_nyquist(_floor(variance[d], error[d], first=own)) for d in draws]))


def _overshoot(found: list[list[Edge]]) -> float:
    """Mean of the excesses of the sharper edges' median profile over its two sides, as a fraction of the step."""
    sharp = [e for edges in found for e in sorted(edges, key=lambda e: e.variance)[: max(NEEDED, len(edges) // 4)]]
    profile, d = np.nanmedian([e.profile for e in sharp], axis=0), distances()
    low, high = float(np.nanmean(profile[d < -3.5])), float(np.nanmean(profile[d > 3.5]))
    smooth = np.convolve(profile, np.ones(3) / 3, mode="same")
    below = low - float(np.nanmin(smooth[(d > -3.2) & (d < -0.5)]))
    above = float(np.nanmax(smooth[(d > 0.5) & (d < 3.2)])) - high
    return max(0.0, (below + above) / 2 / max(high - low, 0.1))


def _usable_edges(sample: Sample, band: int, noise: NoiseEstimate) -> tuple[list[Edge], list[Edge]]:
    """Edges near the vertical and near the horizontal that tell of the sensor, enough of one kind; errors as of `estimate_mtf`."""
    areas = unclipped(sample, band)
    found: tuple[list[Edge], list[Edge]] = ([], [])
    for values, good in areas:
        for direction in (0, 1):
            turned = (values, good) if direction == 0 else (np.ascontiguousarray(values.T), np.ascontiguousarray(good.T))
            found[direction].extend(find_edges(*turned, noise.std_at))
    variances = _solve(found)
    for k in (0, 1):
        if _nyquist(variances[k]) < _SOFTEST:
            found[k].clear()
    counts = [len(e) for e in found]
    if max(counts) < NEEDED:
        raise InputError(
            f"the scene shows {counts[0]} usable edges near the vertical and {counts[1]} near the horizontal, {NEEDED} of one kind are "
            "needed; give --mtf-nyquist"
        )
    return found


def estimate_mtf(sample: Sample, band: int, noise: NoiseEstimate) -> MtfEstimate:
    r"""Estimate the MTF at Nyquist, across and along track, from slanted edges in areas of a scene.

    Straight edges 3 to 15 degrees off an axis of the pixels, 20 noise deviations high and with flat sides, are looked for; near-vertical
    ones give the MTF across track and near-horizontal ones that along track. To each, a step blurred by a Gaussian of variance
    :math:`\sigma^2` is fitted, :math:`\mathrm{MTF}(f) = \exp(-2\pi^2\sigma^2 f^2)`.

    Parameters
    ----------
    sample : sequence of (ndarray, ndarray)
        Areas: values ``(C, h, w)`` in DN and validity ``(C, h, w)``.
    band : int
        Which of the C bands.
    noise : NoiseEstimate
        Of that band; decides which edges are high enough and how much each counts.

    Raises
    ------
    InputError
        When neither direction has five usable edges; ones that are all so soft that the MTF at Nyquist would be below 0.005 are not.

    Notes
    -----
    Slanted-edge method of ISO 12233 with the parametric transfer function of Viallefont-Robinet & Léger (Optics Express 18, 2010) in place
    of a derivative of the profile. Natural edges are softer than the sensor: the result is the sharp end of their widths (`_floor`), and
    still too low where no edge is sharp. The estimate holds for the shape near its half height; it says little of the MTF beyond Nyquist.
    """
    found = _usable_edges(sample, band, noise)
    counts = (len(found[0]), len(found[1]))
    variances = _solve(found)
    nyquist, spread = [_nyquist(v) for v in variances], [_spread(found[k], variances[k], variances[1 - k]) for k in (0, 1)]
    error = [float(np.hypot(s, 0.03 * n)) for s, n in zip(spread, nyquist, strict=True)]
    notes = []
    for k, name in enumerate(("across", "along")):
        if counts[k] < NEEDED:
            nyquist[k], error[k] = nyquist[1 - k], float(np.hypot(error[1 - k], 0.2 * nyquist[1 - k]))
            notes.append(f"{counts[k]} usable edges tell the MTF {name} track, {NEEDED} are needed: the other direction's was taken")
    for k, name in enumerate(("across", "along")):
        if counts[k] >= NEEDED and error[k] > 0.25 * nyquist[k]:
            notes.append(f"the edges that tell the MTF {name} track differ in width: soft objects, the sharpest count")
    overshoot = _overshoot([e for e, n in zip(found, counts, strict=True) if n >= NEEDED])
    if overshoot > SHARPENED:
        notes.append(f"edges overshoot by {100 * overshoot:.0f} % of their height: the scene was restored or sharpened before")
    if max(nyquist) > _SHARPEST:
        notes.append(f"edges are no wider than a pixel: the MTF at Nyquist is put at {_SHARPEST:g}")
    return MtfEstimate(
        (min(nyquist[0], _SHARPEST), min(nyquist[1], _SHARPEST)), (error[0], error[1]), counts, overshoot, notes=tuple(notes)
    )
