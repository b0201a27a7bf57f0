"""How the bands of a scene hang together, from what the coarse ones measured and the sharp ones show on their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.sensors.noise import noise_variance
from imaging.sensors.physics import SensorPhysics

_LEAST = 1e-4
"""Smallest eigenvalue of a covariance, as a share of the largest: no band is an exact mixture of the others."""
_CUT = 1.345
"""Residuals in deviations from which on Huber's weights fall."""
_ROUNDS = 6
_HELD = 0.9
"""Ratio of differences to the told noise from which on the noise is believed."""
_BORDER = 3
"""Coarse pixels at the edge of an area that do not count: what lies beyond is unknown."""


def blurred(sharp: Tensor, fine: SensorPhysics, coarse: SensorPhysics) -> tuple[Tensor, Tensor]:
    """Transform of sharp bands ``(B, K, H, W)``, less their mean levels ``(B, K, 1, 1)``, with the coarse bands' sharpness; and the levels.

    They are filtered by the quotient of the mean coarse band's transfer function and the sharp band's own.
    """
    size = (sharp.shape[-2], sharp.shape[-1])
    low, own = coarse.transfer(size).mean(1, keepdim=True), fine.transfer(size)
    level = sharp.mean((2, 3), keepdim=True)
    seen: Tensor = torch.fft.rfft2(sharp - level) * (low * own.conj() / own.abs().square().clamp(min=1e-3))
    return seen, level


def degraded(sharp: Tensor, fine: SensorPhysics, coarse: SensorPhysics) -> Tensor:
    """Sharp bands ``(B, K, r H, r W)`` as coarse ones would have seen them, ``(B, K, H, W)``."""
    r, (seen, level) = coarse.factor, blurred(sharp, fine, coarse)
    found: Tensor = torch.fft.irfft2(seen, s=(sharp.shape[-2], sharp.shape[-1]))
    return found[..., ::r, ::r] + level


def differences(x: Tensor, valid: Tensor) -> Tensor:
    """Differences of neighbours along rows and columns where both are valid in all bands, ``(n, C)`` of ``(B, C, H, W)``."""
    good = (valid > 0).all(1)
    found = []
    for axis in (1, 2):
        pair = good.narrow(axis, 1, good.shape[axis] - 1) & good.narrow(axis, 0, good.shape[axis] - 1)
        moved = x.movedim(1, -1)
        change = moved.narrow(axis, 1, moved.shape[axis] - 1) - moved.narrow(axis, 0, moved.shape[axis] - 1)
        found.append(change[pair])
    return torch.cat(found)


def huber(design: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, float]:
    """Robust regression with Huber's weights: solution ``(n,)``, its covariance, and the variance of the residuals, by their median.

    ``design`` is ``(values, n)``, ``wanted`` ``(values,)``.
    """
    weight = torch.ones_like(wanted)
    solution = covariance = torch.zeros(())
    variance = 1.0
    for _ in range(_ROUNDS):
        normal = design.mT @ (weight[:, None] * design)
        normal = normal + 1e-9 * normal.diagonal().mean() * torch.eye(len(normal)).to(normal)
        solution = torch.linalg.solve(normal, design.mT @ (weight * wanted))
        residual = (wanted - design @ solution).abs()
        deviation = float((residual.median() / 0.6745).clamp(min=1e-12))
        weight = (_CUT * deviation / residual.clamp(min=1e-12)).clamp(max=1)
        variance = deviation**2
        covariance = torch.linalg.inv(normal) * variance
    return solution, covariance, variance


@dataclass(frozen=True)
class BandStatistics:
    """How K sharp bands and M coarse ones hang together.

    Attributes
    ----------
    covariance : Tensor
        ``(K + M, K + M)``, the mean of the sharp bands' variances being 1.
    means : Tensor
        ``(K + M,)`` mean signals.
    weights, errors : Tensor
        ``(K, M)`` spectral weights of the sharp bands, and their standard errors.
    outside : Tensor
        ``(K,)`` share of the sharp bands' variance that lies outside of the coarse bands' span.
    count : int
        Differences that all this comes from.
    believed : float
        Share of the told noise that was taken off: below 1/2 where the differences do not hold it, as it is overestimated.
    """

    covariance: Tensor
    means: Tensor
    weights: Tensor
    errors: Tensor
    outside: Tensor
    count: int
    believed: float = 1.0

    @property
    def offsets(self) -> Tensor:
        """``(K,)``, what the sharp bands see where the coarse ones see nothing."""
        k = len(self.weights)
        return self.means[:k] - self.weights @ self.means[k:]

    def with_weights(self, weights: Tensor) -> BandStatistics:
        """The same coarse bands under sharp ones of given spectral weights ``(K, M)``, up to a gain that is fitted."""
        k = len(weights)
        coarse, cross = self.covariance[k:, k:], self.covariance[:k, k:]
        seen = weights @ coarse
        gain = (seen * cross).sum(1) / (seen * seen).sum(1).clamp(min=1e-12)
        own = gain[:, None] * weights
        left = (self.covariance[:k, :k].diagonal() - 2 * (own * cross).sum(1) + (own @ coarse * own).sum(1)).clamp(min=0)
        covariance = self.covariance.clone()
        covariance[:k, k:] = own @ coarse
        covariance[k:, :k] = covariance[:k, k:].mT
        covariance[:k, :k] = own @ coarse @ own.mT + torch.diag(left)
        scale = covariance.diagonal()[:k].mean()
        return BandStatistics(positive(covariance / scale), self.means, own, torch.zeros_like(own), left / scale, self.count, self.believed)


def positive(covariance: Tensor) -> Tensor:
    """The nearest covariance whose smallest eigenvalue is not below a small share of the largest."""
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp(min=_LEAST * float(values[-1].clamp(min=1e-20)))
    found: Tensor = vectors @ torch.diag(values) @ vectors.mT
    return found


def _believed(seen: Tensor, twice: Tensor) -> float:
    """Share of the noise ``twice``, ``(M,)``, to be taken off a covariance of differences ``(M, M)``: all, or half of what it can hold."""
    if float(twice.min()) <= 0:
        return 1.0
    scale = twice.rsqrt()
    least = float(torch.linalg.eigvalsh(scale[:, None] * seen * scale)[0])
    return 1.0 if least > _HELD else max(least / 2, 0.0)


def band_statistics(changes: Tensor, noise: Tensor, means: Tensor, bands: int) -> BandStatistics:
    """Statistics from `differences` ``(n, C)``, robust against what only one of the bands saw, such as clouds that moved.

    ``noise`` are the variances of each band's noise, ``(C,)``, of which a difference holds twice: it is taken off, as it would make the
    weights too small. Of noise that is larger than the least that any mixture of the coarse bands differs by, half of that is taken
    off: bands would seem to be exact mixtures of each other. ``means`` are ``(C,)``; the first ``bands`` are the sharp ones.
    """
    x, twice = changes.double(), 2 * torch.diag(noise.double())
    weight = torch.ones_like(x[:, 0])
    k, share = bands, 1.0
    total = weights = torch.zeros(())
    for _ in range(_ROUNDS):
        seen = x.mT @ (weight[:, None] * x) / weight.sum().clamp(min=1e-12)
        share = _believed(seen[k:, k:], twice.diagonal()[k:])
        total = positive(seen - share * twice)
        weights = torch.linalg.solve(total[k:, k:], total[k:, :k]).mT
        residual = x[:, :k] - x[:, k:] @ weights.mT
        deviation = (residual.abs().median(0).values / 0.6745).clamp(min=1e-12)
        away = (residual / deviation).abs().amax(1)
        weight = (3 / away.clamp(min=1e-12)).clamp(max=1)
    scale = total.diagonal()[:k].mean()
    left = (total[:k, :k] - weights @ total[k:, :k]).diagonal().clamp(min=0)
    scatter = torch.linalg.inv(total[k:, k:]).diagonal() / max(1, len(x))
    errors = deviation[:, None] * scatter.sqrt()
    return BandStatistics(
        (total / scale).float(), means.float(), weights.float(), errors.float(), (left / total.diagonal()[:k]).float(), len(x), share
    )


@dataclass(frozen=True)
class BundleArea:
    """Stored measurements of a piece of a scene, image units: ``(1, K, r H, r W)`` and ``(1, M, H, W)``, and one where they are valid."""

    sharp: Tensor
    coarse: Tensor
    sharp_mask: Tensor
    coarse_mask: Tensor

    def valid(self, ratio: int) -> Tensor:
        """``(1, 1, H, W)``, one where all bands are valid as far as a coarse kernel nearly reaches."""
        torn = 1 - (self.sharp_mask > 0).float().amin(1, keepdim=True)
        reached = F.max_pool2d(torn, 3 * ratio, ratio, ratio)
        return ((self.coarse_mask > 0).all(1, keepdim=True) & (reached == 0)).to(self.coarse)


def scene_statistics(areas: Sequence[BundleArea], fine: SensorPhysics, low: SensorPhysics) -> BandStatistics:
    """Statistics of a scene from some of its areas; `ValueError` where they have no valid pixel in common."""
    changes, values, k = [], [], areas[0].sharp.shape[1]
    inner = (..., slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
    for area in areas:
        seen = torch.cat([degraded(area.sharp, fine, low), area.coarse], 1)[inner]
        valid = area.valid(low.factor)[inner]
        changes.append(differences(seen, valid.expand_as(seen)))
        values.append(seen.movedim(1, -1)[valid[:, 0] > 0])
    known, moved = torch.cat(values), torch.cat(changes)
    if len(moved) < 4 * known.shape[1]:
        raise ValueError("the sharp and the coarse bands have hardly a valid pixel in common")
    means = known.double().mean(0).float()
    noise = torch.cat([means.new_zeros(k), noise_variance(low, means[k:].reshape(1, -1, 1, 1)).flatten()])
    return band_statistics(moved, noise, means, k)
