"""Sensors of the benchmarks, and what they measure of a scene: the one simulation that all programs use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from imaging.metrics import psnr
from imaging.sensors import Band, Mtf, Noise, SensorPhysics, SensorProfile, sensor_physics
from scripts.scenes import FULL, MARGIN, Array, Scenes

SCORED = 8
"""Pixels at the border of a measurement that are not scored."""
RAW = (0.15, 90.0)
"""MTF at Nyquist and signal-to-noise ratio of the sensor "raw"."""


def sensor(mtf: Mtf | float, snr: float, bands: int = 1) -> SensorProfile:
    """A 12-bit sensor of an MTF, a number being that of a Gaussian one at Nyquist; all its bands are alike.

    ``snr`` is the signal-to-noise ratio at half signal, where 70 % of the variance is shot noise.
    """
    variance = (0.5 * FULL / snr) ** 2
    noise = Noise(float(np.sqrt(0.3 * variance)), float(0.7 * variance / (0.5 * FULL)))
    names = {"PAN": "pan"} if bands == 1 else dict(zip(("R", "G", "B", "NIR")[:bands], ("red", "green", "blue", "nir"), strict=False))
    shape = mtf if isinstance(mtf, Mtf) else Mtf("gaussian", (mtf, mtf))
    return SensorProfile("benchmark", "raw", 12, tuple(Band(n, 0.6, shape, noise, common_name=c) for n, c in names.items()))


def sensors(bands: int = 1) -> dict[str, SensorProfile]:
    """The three that methods are compared on."""
    return {
        "mild (MTF 0.30, SNR 100)": sensor(0.30, 100.0, bands),
        "raw (MTF 0.15, SNR 90)": sensor(*RAW, bands),
        "hard (MTF 0.10, SNR 40)": sensor(0.10, 40.0, bands),
    }


def strangers() -> dict[str, SensorProfile]:
    """Five that no tuning saw."""
    return {
        "anisotropic (0.08, 0.30; SNR 60)": sensor(Mtf("gaussian", (0.08, 0.30)), 60.0),
        "exponential (0.12; SNR 150)": sensor(Mtf("exponential", (0.12, 0.12)), 150.0),
        "defocused (SNR 100)": sensor(Mtf("file", (0.1, 0.1), kernel=disc()), 100.0),
        "hardly blurred (0.55; SNR 20)": sensor(0.55, 20.0),
        "noisy (0.20; SNR 15)": sensor(0.20, 15.0),
    }


def disc(radius: float = 1.1, blur: float = 0.45) -> Array:
    """A defocused kernel, 13 x 13, as a file of a measured one would hold it: a disc times a Gaussian detector, drawn finely."""
    fine = 8
    n = (np.arange(13 * fine) - (13 * fine - 1) / 2) / fine
    inside = gaussian_filter((np.hypot(n[:, None], n[None]) <= radius).astype(float), blur * fine)
    kernel = inside.reshape(13, fine, 13, fine).mean((1, 3))
    return np.asarray(kernel / kernel.sum())


def louder(profile: SensorProfile, factor: float) -> SensorProfile:
    """The sensor with its noise deviation times a factor."""
    return with_noise(profile, lambda n: replace(n, sigma0=factor * n.sigma0, gain=factor**2 * n.gain))


def with_noise(profile: SensorProfile, change: Callable[[Noise], Noise]) -> SensorProfile:
    """The sensor with the noise of each band changed."""
    return replace(profile, bands=tuple(replace(b, noise=b.noise and change(b.noise)) for b in profile.bands))


@dataclass(frozen=True)
class Trial:
    """One scene seen by one sensor: truth with margins and measurement, ``(1, C, H, W)`` in image units."""

    truth: Tensor
    y: Tensor
    profile: SensorProfile

    def physics(self, margin: int = MARGIN) -> SensorPhysics:
        """The sensor's, with so many unmeasured pixels around the measurement."""
        return sensor_physics(self.profile.bands, self.profile.full_scale, margin)

    def scored(self, x: Tensor | Array, margin: int = 0, block: int = 1) -> Array:
        """What counts of an image with a margin around the measurement, or of its means over blocks, ``(C, H, W)`` float64."""
        rows, columns = (slice(-(-(margin + SCORED) // block), (margin + n - SCORED) // block) for n in self.y.shape[-2:])
        return np.asarray(torch.as_tensor(x)[..., rows, columns].cpu().double().flatten(0, -3).numpy())

    def wanted(self, margin: int = 0, block: int = 1) -> Array:
        """The truth of what `scored` takes."""
        return self.scored(F.avg_pool2d(F.pad(self.truth, (margin - MARGIN,) * 4), block), margin, block)

    def quality(self, x: Tensor, margin: int = 0) -> float:
        """PSNR (dB) of an image with a margin."""
        return psnr(self.scored(x, margin), self.wanted(), 1.0)

    def by_band(self) -> list[Trial]:
        """Each band as a trial of its own."""
        parts = [(slice(None), slice(k, k + 1)) for k in range(len(self.profile.bands))]
        return [Trial(self.truth[p], self.y[p], replace(self.profile, bands=(b,))) for p, b in zip(parts, self.profile.bands, strict=True)]


def trial(truth: Array, profile: SensorProfile, seed: int) -> Trial:
    """Simulate a measurement of a scene ``(C, H, W)``."""
    x = torch.from_numpy(truth)[None]
    return Trial(x, sensor_physics(profile.bands, profile.full_scale, MARGIN)(x, seed=seed), profile)


def trials(scenes: Scenes, profiles: Mapping[str, SensorProfile], seed: int) -> Iterator[tuple[dict[str, str], Trial]]:
    """All scenes seen by all sensors, with the names of both; the k-th scene has the same noise, of ``seed + k``, for each sensor."""
    for name, profile in profiles.items():
        for k, (scene, truth) in enumerate(scenes.items()):
            yield {"sensor": name, "scene": scene}, trial(truth, profile, seed + k)
