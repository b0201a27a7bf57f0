"""Noise of a scene whose sensor is not known: its variance against brightness, its colour, and how sure that is.

After the level sets of Foi et al. (IEEE TIP 17(10), 2008) and the blocks of Ponomarenko's method (Colom et al., JOSA A 31, 2014). Where
the noise is coloured its fine scales hold too little: the variance is then raised by what the flattest blocks hold in all; the spectrum
below 0.25 cycles per pixel, which scene content hides, is taken as level. Weak texture that covers the whole scene counts as noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from imaging.errors import InputError
from imaging.sensors.blocks import FINE, Array, Blocks, Sample, make_blocks, noise_colour, patch_covariance, quiet_blocks, unclipped
from imaging.sensors.profile import Noise

_FLAT = 0.05
"""Share of the blocks of one brightness that counts as flat where noise is white; a fifth of it where it is coloured."""
_LEAK = 0.02
"""Relative excess at fine scales feared for each unit of excess at coarse ones (blurred aerial images: 0.005 to 0.02)."""
_COLOUR = 0.4
"""Relative standard error of the variance of coloured noise, from how much of it fine scales hold."""
_PLAUSIBLE = 0.03
"""Greatest noise, as a share of the median signal, that coloured noise is believed to have."""
_COLOURED = (
    "the noise is coloured (ratio {:.2f}): a resampled, compressed or denoised product, or texture everywhere; "
    "its variance was raised to the whole power of the flattest areas"
)
_DISAGREE = "a second method finds noise of {:.3g} DN where this one has {:.3g} DN: trust neither closely"
_REPEATS = 60
_WHITE = 0.6
"""Least ratio of high- to lower-frequency noise power that is taken for white noise: texture alone brings it to some 0.7."""


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of one band of a scene: variance ``sigma0**2 + gain * (DN - offset)``.

    Attributes
    ----------
    sigma0, gain : float
        DN, and DN squared per DN; of the noise of a single pixel, whatever its colour.
    sigma0_error, gain_error : float
        One standard error each: spread over a bootstrap of 32 x 32 pixel blocks, with the change that a stricter and a looser choice
        of flat blocks make, and an allowance for texture or colour, added in quadrature.
    offset : float
        DN of zero signal.
    level : float
        Median DN of the blocks that were looked at.
    std, std_error : float
        Noise standard deviation at that level and its standard error.
    coloured : bool
        Whether neighbouring pixels share noise, as in resampled, compressed or denoised products.
    ratio : float
        Noise power above 0.5 cycles per pixel (off the axes) over that from 0.37 to 0.44, in the flattest blocks: about 1 for white noise,
        below 0.6 coloured.
    correlation : float
        Sum of the noise autocorrelation: low-frequency noise power density over variance, 1 for white noise. A white-noise likelihood needs
        its variance times this.
    cross_check : float
        Noise standard deviation at ``level`` from the smallest eigenvalue of the covariance of 5 x 5 patches.
    agrees : bool
        Whether the two agree within 30 %.
    blocks : int
        Blocks of 8 x 8 pixels that were usable.
    notes : tuple of str
        What a user should know, a sentence each.
    """

    sigma0: float
    gain: float
    sigma0_error: float
    gain_error: float
    offset: float
    level: float
    std: float
    std_error: float
    coloured: bool
    ratio: float
    correlation: float
    cross_check: float
    agrees: bool
    blocks: int
    notes: tuple[str, ...] = ()

    def std_at(self, level: float) -> float:
        """Noise standard deviation at a level in DN; signal below the offset counts as none."""
        return float(np.sqrt(Noise(self.sigma0, self.gain, self.offset).variance(level)))

    def model(self) -> Noise:
        """The noise of a band, for a likelihood of white noise, rounded to four digits; its source tells the standard errors."""
        source = (
            f"estimated from the scene: sigma0 {self.sigma0:.3g} +- {self.sigma0_error:.2g} DN, gain {self.gain:.3g} +- "
            f"{self.gain_error:.2g}; {self.std:.3g} +- {self.std_error:.2g} DN at DN {self.level:.0f}"
        )
        if self.coloured:
            source += f"; the variance here is {self.correlation:.2g} times that, because neighbouring pixels share noise"
        sigma0, gain = (float(f"{v:.4g}") for v in (self.sigma0 * math.sqrt(self.correlation), self.gain * self.correlation))
        return Noise(sigma0, gain, self.offset, source)


def _level_sets(level: Array, coarse: Array, fine: Array, share: float) -> Array:
    """Mean level, fine power, its relative error and the share of it that may be texture, for each brightness class: ``(4, classes)``.

    A share of the blocks, those weakest at coarse scales, counts as flat. Coefficients of white noise are independent, so that this choice
    leaves the fine ones as they are.
    """
    points = []
    for part in np.array_split(np.argsort(level), int(np.clip(len(level) // 60, 3, 12))):
        flat = part[np.argsort(coarse[part])[: max(6, round(share * len(part)))]]
        variance = max(float(fine[flat].mean()), 1e-300)
        texture = _LEAK * max(0.0, float(np.median(coarse[flat])) / variance - 1)
        points.append((level[flat].mean(), variance, np.hypot(np.sqrt(2 / (FINE.sum() * len(flat))), texture), texture))
    return np.asarray(points).T


def _line(level: Array, variance: Array, error: Array, pure: bool) -> tuple[float, float]:
    """Non-negative (sigma0 squared, gain) by iteratively re-weighted least squares with Huber's weights."""
    design = np.stack([np.ones_like(level), np.zeros_like(level) if pure else np.maximum(level, 0.0)], 1)
    model, huber = np.maximum(variance, 1e-12 * variance.max()), np.ones_like(level)
    solution = np.array([float(np.median(variance)), 0.0])
    for _ in range(12):
        weight = np.sqrt(huber) / (model * error)
        solution, _ = nnls(design * weight[:, None], variance * weight)
        model = np.maximum(design @ solution, 1e-3 * variance.mean())
        residual = np.abs(variance - model) / (model * error)
        huber = 1.345 / np.maximum(residual / max(1.0, float(np.median(residual)) / 0.6745), 1.345)
    return float(solution[0]), float(solution[1])


@dataclass(frozen=True)
class _VarianceFit:
    """Fits the line of variance at fine scales against level."""

    blocks: Blocks
    offset: float
    pure: bool
    share: float = _FLAT

    def fit(self, index: NDArray[np.int64] | slice = slice(None), looseness: float = 1.0) -> tuple[Array, float]:
        """(sigma0 squared, gain) from all or some blocks, and the share of the variance that may be texture."""
        points = _level_sets(self.blocks.level[index], self.blocks.coarse[index], self.blocks.fine[index], self.share * looseness)
        solution = np.asarray(_line(points[0] - self.offset, points[1], points[2], self.pure))
        return solution, float(np.average(points[3], weights=points[2] ** -2))

    def bootstrap(self) -> Array:
        """Fits ``(repeats, 2)`` to draws of the 32 x 32 blocks with replacement: neighbours share texture."""
        rng = np.random.default_rng(0)
        order = np.argsort(self.blocks.group, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(self.blocks.group[order])) + 1)
        draws = (np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]) for _ in range(_REPEATS))
        return np.stack([self.fit(d)[0] for d in draws])


def _usable_blocks(areas: list[tuple[Array, NDArray[np.bool_]]]) -> Blocks:
    blocks = make_blocks(areas)
    if len(blocks) < 50:
        raise InputError(f"noise cannot be estimated: {len(blocks)} usable blocks of 8 x 8 pixels, 50 are needed; give --noise SIGMA0,GAIN")
    if not np.median(blocks.fine) > 0:
        raise InputError("no noise is found in the scene; give --noise SIGMA0,GAIN")
    return blocks


def estimate_noise(sample: Sample, band: int, offset: float = 0.0) -> NoiseEstimate:
    r"""Estimate signal-dependent noise and its uncertainty from areas of a scene.

    In each brightness class the blocks of 8 x 8 pixels that are weakest at coarse scales are taken for flat; the power of their finest DCT
    coefficients, which the sensor's blur leaves nearly free of scene, is the noise variance there. A line
    :math:`\sigma_0^2 + K\,(\mathrm{DN} - \mathrm{offset})` with neither term negative is fitted with robust weights.

    Parameters
    ----------
    sample : sequence of (ndarray, ndarray)
        Areas: values ``(C, h, w)`` in DN and validity ``(C, h, w)``. Clipped values (the least and greatest of the band) are left out.
    band : int
        Which of the C bands.
    offset : float
        DN of zero signal.

    Raises
    ------
    InputError
        When fewer than 50 blocks of 8 x 8 pixels are usable, or no noise is seen.
    """
    areas = unclipped(sample, band)
    blocks = _usable_blocks(areas)
    level = float(np.median(blocks.level))
    low, high = np.quantile(blocks.level, (0.02, 0.98)) - offset
    pure = bool(high - low < 0.15 * max(abs(level - offset), 1e-12) or high <= 0)
    near = np.inf if pure else 0.1 * float(high - low)
    at_level = np.array([1.0, max(level - offset, 0.0)])
    line = _VarianceFit(blocks, offset, pure)
    solution, texture = line.fit()
    model = solution[0] + solution[1] * np.maximum(blocks.level - offset, 0.0)
    colour = noise_colour(blocks, np.maximum(model, 1e-3 * model.mean() + 1e-300))
    coloured = colour.ratio < _WHITE
    growth, correlation = (colour.growth, colour.correlation) if coloured else (1.0, 1.0)
    if coloured:
        line = replace(line, share=_FLAT / 5)
    solution, repeats = growth * line.fit()[0], growth * line.bootstrap()
    pair = growth * np.stack([line.fit(looseness=v)[0] for v in (0.5, 2.0)])
    std = float(np.sqrt(solution @ at_level))
    doubtful = coloured and (not colour.settled or std > _PLAUSIBLE * at_level[1])
    if coloured:  # coarse scales hold more of the noise, too, and say nothing of texture
        texture = (2 if doubtful else 1) * _COLOUR
    check = quiet_blocks(blocks, level, near) if coloured else patch_covariance(areas, level, near)
    agrees = bool(abs(check - std) <= 0.3 * std)
    remarks = [
        (pure, "the scene has one brightness: the noise was taken as the same at all levels"),
        (coloured, _COLOURED.format(colour.ratio)),
        (doubtful, "no area is flat enough to tell coloured noise from texture: the noise is at most that; give --noise if it is known"),
        (not np.isfinite(check), "too few patches near the median level for a second estimate of the noise"),
        (np.isfinite(check) and not agrees, _DISAGREE.format(check, std)),
        (pair[1] @ at_level > 1.3 * (pair[0] @ at_level), "even the flattest areas hold texture: the noise may be overestimated"),
    ]
    sigma0, gain = (float(v) for v in _parameters(solution[None])[0])
    sigma0_error, gain_error, std_error = _errors(solution, repeats, pair, texture, at_level, float(low), pure)
    return NoiseEstimate(
        sigma0=sigma0, gain=gain, sigma0_error=sigma0_error, gain_error=gain_error, offset=offset, level=level, std=std,
        std_error=std_error, coloured=coloured, ratio=colour.ratio, correlation=correlation, cross_check=check, agrees=agrees,
        blocks=len(blocks), notes=tuple(text for holds, text in remarks if holds),
    )  # fmt: skip


def _errors(
    solution: Array, repeats: Array, pair: Array, texture: float, at_level: Array, low: float, pure: bool
) -> tuple[float, float, float]:  # fmt: skip
    """Standard errors of sigma0, of the gain and of the standard deviation at the median level.

    ``solution`` is the fit, ``(2,)``, ``repeats`` are those of the bootstrap, ``pair`` those of a stricter and a looser choice of flat
    blocks; ``texture`` is the relative error of the variance that the scene may have made. ``at_level`` holds 1 and the median level,
    ``low`` is the level of the darkest blocks, both above the offset; if ``pure``, the gain was left out.
    """
    std = float(np.sqrt(solution @ at_level))
    sampling, choice = _parameters(repeats).std(0), np.ptp(_parameters(pair), axis=0) / 2
    sigma0, gain = np.sqrt(sampling**2 + choice**2 + (texture * np.array([np.sqrt(solution[0]) / 2, solution[1]])) ** 2)
    spread, chosen = np.sqrt(repeats @ at_level).std(), np.ptp(np.sqrt(pair @ at_level)) / 2
    at_median = float(np.sqrt(spread**2 + chosen**2 + (texture * std / 2) ** 2))
    # A term that is zero in each draw is no better known than the whole: the gain at the median level, sigma0 at the darkest.
    level, spare = max(float(at_level[1]), 1e-12), 2 * std * at_median
    gain = std**2 / level if pure else max(gain, spare / level)
    dark = spare * min(1.0, max(low, 0.0) / level)
    sigma0 = max(sigma0, np.sqrt(solution[0] + dark) - np.sqrt(solution[0]))
    return float(sigma0), float(gain), at_median


def _parameters(solutions: Array) -> Array:
    """Sigma0 and gain ``(n, 2)`` from sigma0 squared and gain."""
    return np.stack([np.sqrt(solutions[:, 0]), solutions[:, 1]], 1)
