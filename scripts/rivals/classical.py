"""Classical deconvolution: a Wiener filter for the mean spectrum of the training images, and total variation with a tuned weight."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from deepinv.models import TVDenoiser
from torch import Tensor
from torch.nn import functional as F

from imaging.sensors import SensorProfile
from scripts.rivals.methods import Given, mean_deviation, proximal
from scripts.scenes import MARGIN, Array
from scripts.sensors import Trial, trials
from scripts.split import tiles

WEIGHTS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
Spectrum = tuple[Array, Array]
"""Radial frequencies and mean power per pixel."""


def mean_spectrum(images: Iterable[Array]) -> Spectrum:
    """Of square images, windowed."""
    flat = [i.mean(0) for i in images]
    n = flat[0].shape[0]
    window = np.outer(np.hanning(n), np.hanning(n))
    power = np.mean([np.abs(np.fft.fft2((i - i.mean()) * window)) ** 2 for i in flat], 0) / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None])
    edges = np.linspace(0, radius.max() + 1e-9, 90)
    index = np.digitize(radius.ravel(), edges) - 1
    count = np.bincount(index, minlength=89)
    mean = np.bincount(index, power.ravel(), minlength=89) / np.maximum(count, 1)
    centres = (edges[:-1] + edges[1:]) / 2
    return centres[count > 0], mean[count > 0]


def wiener(t: Trial, spectrum: Spectrum) -> Tensor:
    """Wiener deconvolution of one band, reflected borders."""
    pad, physics = 32, t.physics()
    y = F.pad(t.y, (pad,) * 4, mode="reflect")
    level = float(y.mean())
    noise = mean_deviation(t.y, physics) ** 2
    shape = (y.shape[-2], y.shape[-1])
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    power = torch.from_numpy(np.exp(np.interp(radius, spectrum[0], np.log(spectrum[1])))).float()
    transfer = physics._transfer(physics.psf, shape)
    response = transfer.conj() * power / (transfer.abs().square() * power + noise)
    x: Tensor = torch.fft.irfft2(torch.fft.rfft2(y - level) * response, s=shape) + level
    return x[..., pad:-pad, pad:-pad]


def total_variation(t: Trial, start: Tensor, weight: float) -> Tensor:
    """TV deconvolution with the mean noise level; the scene's margins are unknowns."""
    given = Given(t.y, t.physics(), F.pad(start, (MARGIN,) * 4, mode="replicate"))
    return proximal(TVDenoiser(crit=1e-8, n_it_max=20), given, weight, 100, 1.0).mean[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def tuned_weight(data: Path, profile: SensorProfile, spectrum: Spectrum) -> float:
    """TV weight with the best mean PSNR on the first four tuning tiles, for the sensor's first band."""
    single = {"": SensorProfile(profile.name, profile.state, profile.bits, profile.bands[:1])}
    started = [(t, wiener(t, spectrum)) for _, t in trials(tiles(data, "tuning", part=slice(4)), single, 100)]

    def quality(weight: float) -> float:
        return float(np.mean([t.quality(total_variation(t, start, weight)) for t, start in started]))

    return max(WEIGHTS, key=quality)
