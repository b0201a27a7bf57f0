"""The bundles that a training draws: sensors, weights, grids, what a panchromatic band sees beyond the others; and batches of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from imaging.fusion.covariance import BundleArea, scene_statistics
from imaging.fusion.features import bundle_features
from imaging.fusion.gaussian import CrossBandGaussian
from imaging.fusion.physics import SpectralPhysics
from imaging.sensors.mtf import separable_psf
from imaging.sensors.noise import SignalDependentNoise
from imaging.sensors.physics import SensorPhysics
from imaging.training import CropSampler, check_within

RATIOS = (2, 3, 4)
_RADIUS = 6
"""Of kernels, coarse pixels."""
_GAIN = 0.25
"""Deviation of the logarithm of the gain of each band: sensors weigh them differently."""
_BITS = (10, 11, 12, 14)


@dataclass(frozen=True, kw_only=True)
class BundleRanges:
    """The distribution of the bundles that a training draws, anew for each crop.

    Log-uniform are ``sharp`` and ``coarse``, the MTF of both kinds of bands at the Nyquist frequency of their own grids, and their
    signal-to-noise ratios at half of the full scale, ``sharp_snr`` and ``coarse_snr``; ``shot`` is the share of that variance which is in
    proportion to the signal. ``exponential`` is the share of exponential transfer functions among Gaussian ones, ``anisotropy`` the
    deviation of the logarithm of the ratio between an axis and their mean. ``ratios`` are shares of `RATIOS`; for a share ``shifted`` the
    grids do not share a corner. The panchromatic band sees with weights drawn from a Dirichlet distribution of ``concentration`` around
    equal ones, and for a share ``beyond`` something outside of the bands' span, up to ``outside`` of its contrast. What is told is wrong
    by the deviations ``registration``, sharp pixels, and ``mismatch``, of the logarithm of an MTF. ``holes`` and ``saturated`` are the
    shares of crops with invalid pixels and with clipped highlights.
    """

    sharp: tuple[float, float] = (0.05, 0.45)
    coarse: tuple[float, float] = (0.08, 0.6)
    sharp_snr: tuple[float, float] = (25.0, 300.0)
    coarse_snr: tuple[float, float] = (40.0, 400.0)
    shot: tuple[float, float] = (0.0, 1.0)
    exponential: float = 0.2
    anisotropy: float = 0.15
    ratios: tuple[float, float, float] = (0.15, 0.05, 0.8)
    shifted: float = 0.4
    concentration: float = 12.0
    beyond: float = 0.4
    outside: float = 0.35
    registration: float = 0.05
    mismatch: float = 0.05
    holes: float = 0.1
    saturated: float = 0.05

    def __post_init__(self) -> None:
        check_within(
            self, sharp=(1e-6, 0.95), coarse=(1e-6, 0.95), sharp_snr=(1e-3, 1e9), coarse_snr=(1e-3, 1e9), shot=(0, 1), exponential=(0, 1),
            anisotropy=(0, 10), shifted=(0, 1), concentration=(1e-3, 1e6), beyond=(0, 1), outside=(0, 10), registration=(0, 10),
            mismatch=(0, 10), holes=(0, 1), saturated=(0, 1),
        )  # fmt: skip
        if len(self.ratios) != len(RATIOS) or min(self.ratios) < 0 or sum(self.ratios) <= 0:
            raise ValueError(f"ratios is {list(self.ratios)}; it must be {len(RATIOS)} shares")


class SimulatedBundle(NamedTuple):
    """A crop as a drawn bundle's sensors see it: truth ``(1, M, H, W)``, both measurements and their masks, and the model that is told."""

    truth: Tensor
    sharp: Tensor
    coarse: Tensor
    sharp_mask: Tensor
    coarse_mask: Tensor
    model: CrossBandGaussian


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _noise(rng: np.random.Generator, snr: tuple[float, float], shot: tuple[float, float], bands: int) -> SignalDependentNoise:
    ratio, share = _log_uniform(rng, *snr), rng.uniform(*shot)
    variances = [(0.5 / ratio) ** 2 * math.exp(rng.normal(0, 0.2)) for _ in range(bands)]
    return SignalDependentNoise(
        torch.tensor([math.sqrt((1 - share) * v) for v in variances]), torch.tensor([share * v / 0.5 for v in variances])
    )


@dataclass(frozen=True)
class _Kernel:
    """A drawn transfer function."""

    shape: str
    nyquist: tuple[float, float]

    def psf(self, ratio: int, shift: tuple[float, float], bands: int) -> Tensor:
        kernel = torch.from_numpy(separable_psf(self.shape, self.nyquist, ratio, shift)).float()
        return kernel.expand(1, bands, -1, -1).contiguous()

    def told(self, rng: np.random.Generator, deviation: float) -> _Kernel:
        """What is told of it, which is wrong."""
        return replace(self, nyquist=tuple(min(0.9, v * math.exp(rng.normal(0, deviation))) for v in self.nyquist))  # type: ignore[arg-type]


def _draw_kernel(rng: np.random.Generator, ranges: BundleRanges, nyquist: tuple[float, float]) -> _Kernel:
    middle, ratio = _log_uniform(rng, *nyquist), math.exp(rng.normal(0, ranges.anisotropy)) if rng.random() < 0.5 else 1.0
    shape = "exponential" if rng.random() < ranges.exponential else "gaussian"
    return _Kernel(shape, (float(np.clip(middle * ratio, *nyquist)), float(np.clip(middle / ratio, *nyquist))))


def _quantised(y: Tensor, noise: SignalDependentNoise, rng: np.random.Generator) -> Tensor:
    deviation = float(noise.variance(y.mean((2, 3), keepdim=True)).sqrt().min())
    steps = 2 ** int(rng.choice([b for b in _BITS if 1.2 * deviation * (2**b - 1) >= 1] or _BITS[-1:])) - 1
    found: Tensor = (y * steps).round() / steps
    return found


def _noisy(signal: Tensor, noise: SignalDependentNoise, rng: np.random.Generator) -> Tensor:
    drawn = torch.from_numpy(rng.standard_normal(tuple(signal.shape))).float()
    return _quantised(signal + noise.variance(signal).sqrt() * drawn, noise, rng)


def _torn(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """Validity ``(H, W)``: rectangles without data, dead columns, or single dead pixels."""
    valid = torch.ones(height, width)
    kind = rng.integers(3)
    if kind == 0:
        valid = torch.from_numpy((rng.random((height, width)) > _log_uniform(rng, 0.001, 0.03)).astype(np.float32))
    elif kind == 1:
        valid[:, int(rng.integers(0, width))] = 0
    else:
        h, w = (int(_log_uniform(rng, 2, height / 3)) for _ in range(2))
        r, c = int(rng.integers(0, height)), int(rng.integers(0, width))
        valid[r : r + h, c : c + w] = 0
    return valid


def simulate_bundle(x: Tensor, ranges: BundleRanges, rng: np.random.Generator) -> SimulatedBundle:
    """Measure a crop ``(1, M, H, W)`` with a bundle's sensors drawn for it; its margins stay unmeasured."""
    bands = x.shape[1]
    x = x * torch.from_numpy(np.exp(rng.normal(0, _GAIN, (1, bands, 1, 1)))).float()
    r = RATIOS[int(rng.choice(len(RATIOS), p=np.array(ranges.ratios) / sum(ranges.ratios)))]
    shift = (rng.uniform(-r / 2, r / 2), rng.uniform(-r / 2, r / 2)) if rng.random() < ranges.shifted else (0.0, 0.0)
    fine, low = _draw_kernel(rng, ranges, ranges.sharp), _draw_kernel(rng, ranges, ranges.coarse)
    noises = _noise(rng, ranges.sharp_snr, ranges.shot, 1), _noise(rng, ranges.coarse_snr, ranges.shot, bands)
    margin = (_RADIUS + 1) * r
    side = (x.shape[-1] - 2 * margin) // r * r
    x = x[..., : side + 2 * margin, : side + 2 * margin]
    weights = torch.from_numpy(rng.dirichlet(np.full(bands, ranges.concentration / bands))).float()[None]
    pan = SpectralPhysics(SensorPhysics(fine.psf(1, (0.0, 0.0), 1), noises[0], margin), weights)
    true = SensorPhysics(low.psf(r, shift, bands), noises[1], margin, r)
    signal = pan.A(x)
    if rng.random() < ranges.beyond:
        other = torch.from_numpy(rng.dirichlet(np.full(bands, 1.0))).float()
        curved = torch.einsum("c,bchw->bhw", other, x)[:, None].clamp(min=0) ** rng.uniform(0.5, 2.0)
        seen = pan.instrument.A(curved)
        seen = (seen - seen.mean()) / seen.std().clamp(min=1e-6)
        signal = (signal + rng.uniform(-1, 1) * ranges.outside * signal.std() * seen).clamp(min=0)
    sharp, coarse = _noisy(signal, noises[0], rng), _noisy(true.A(x), noises[1], rng)
    masks = [torch.ones_like(sharp), torch.ones_like(coarse)]
    if rng.random() < ranges.saturated:
        top = torch.quantile(sharp.flatten(), float(rng.uniform(0.93, 0.998)))
        masks[0] = (sharp < top).float()
        sharp = sharp.clamp(max=float(top))
    if rng.random() < ranges.holes:
        torn = int(rng.integers(2))
        masks[torn] = masks[torn] * _torn(rng, *masks[torn].shape[2:])
    wrong = tuple(s + rng.normal(0, ranges.registration) for s in shift)
    told = fine.told(rng, ranges.mismatch).psf(1, (0.0, 0.0), 1), low.told(rng, ranges.mismatch).psf(r, wrong, bands)  # type: ignore[arg-type]
    sensors = SensorPhysics(told[0], noises[0]), SensorPhysics(told[1], noises[1], factor=r)
    try:
        known = scene_statistics([BundleArea(sharp, coarse, *masks)], *sensors)
    except ValueError:  # torn too much
        masks = [torch.ones_like(m) for m in masks]
        known = scene_statistics([BundleArea(sharp, coarse, *masks)], *sensors)
    model = CrossBandGaussian(*sensors, known.covariance, known.means)
    truth = x[..., margin : margin + side, margin : margin + side]
    return SimulatedBundle(truth, sharp * masks[0], coarse * masks[1], masks[0], masks[1], model)


@dataclass(frozen=True)
class BundleBatches(Dataset[dict[str, Tensor]]):
    """Featured crops of each step, a function of seed and step alone; all of a step have one size."""

    sampler: CropSampler
    ranges: BundleRanges
    seed: int

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        crops = self.sampler.batch(rng)
        shares = np.array(self.ranges.ratios)
        chosen = np.eye(len(RATIOS))[int(rng.choice(len(RATIOS), p=shares / shares.sum()))]
        ranges = replace(self.ranges, ratios=tuple(chosen))
        with torch.no_grad():
            parts = [_featured(simulate_bundle(crop[None], ranges, rng)) for crop in crops]
        return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def _featured(bundle: SimulatedBundle) -> dict[str, Tensor]:
    found = bundle_features(bundle.model, bundle.sharp, bundle.coarse, bundle.sharp_mask, bundle.coarse_mask)
    mask = bundle.sharp_mask.expand_as(bundle.truth).clone()
    return {"truth": bundle.truth, "mask": mask, "estimate": found.estimate, "unit": found.unit, "stack": found.stack.bfloat16()}


def validation_bundles(
    images: list[np.ndarray[Any, Any]], bands: int, ranges: BundleRanges, full: float = 255.0
) -> list[dict[str, Tensor]]:
    """Validation images, each measured by two drawn bundles, without invalid or saturated pixels; always the same."""
    plain = replace(ranges, holes=0.0, saturated=0.0)
    found = []
    for k, image in enumerate(images):
        x = torch.from_numpy(image[:bands].astype(np.float32) / full)[None]
        for j in range(2):
            found.append(_featured(simulate_bundle(x, plain, np.random.default_rng([78, k, j]))))
    return found
