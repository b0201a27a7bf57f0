"""Fitting windows of stored values: the one place where sensor, prior and posterior meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.errors import InputError
from imaging.raster import Statistics, filled, statistics
from imaging.restoration.method import Method, Progress, Window
from imaging.restoration.radiometry import Radiometry
from imaging.sensors import Band, SensorPhysics, SensorProfile, sensor_physics

_LARGEST = float(np.finfo(np.float32).max)
Sample = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Fitter:
    """Restores windows of some bands that are fitted together.

    ``indices`` are these bands, among those to be restored; ``order`` is the place among them of each channel of the method, in whose order
    ``physics`` and ``radiometry`` are. Rate scale and mean signal are those of the whole scene, ``seed`` is that of these bands' draws.
    """

    method: Method
    physics: SensorPhysics
    radiometry: Radiometry
    indices: list[int]
    order: list[int]
    rate_scale: float
    level: float
    seed: int

    def tensors(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Stored values and their validity as the method takes them: in its order of bands, on its device, in image units."""
        values, valid = values[:, self.order], valid[:, self.order]
        known = np.stack([filled(v, m) for v, m in zip(values, valid, strict=True)])  # only first estimates see what is filled in
        y, mask = torch.from_numpy(self.radiometry.to_image(known)), torch.from_numpy(valid.astype(np.float32))
        return y.to(self.method.device), mask.to(self.method.device)

    def __call__(
        self, values: NDArray[Any], valid: NDArray[np.bool_], origins: list[tuple[int, int]], samples: int, progress: Progress | None,
        extents: list[tuple[int, int]] | None = None,
    ) -> dict[str, NDArray[np.float64]]:  # fmt: skip
        """Restored values, standard deviations and samples of windows, in stored units.

        Given are ``(B, C, h, w)`` measured values with their validity, the absolute latent position of each window, how many samples, what
        counts iterations, and `Window.extents`. Returned are ``restored`` and, where the method has a spread, ``std``, ``sample_000``, ...,
        each ``(B, C, s h + 2 margin, s w + 2 margin)`` at scale s. `InputError` when a value is not finite.
        """
        y, mask = self.tensors(values, valid)
        window = Window(y, mask, origins, self.rate_scale, self.level, self.seed, samples, extents or [])
        found = {name: x.cpu().numpy() for name, x in self.method.restore(window, self.physics, progress).items()}
        full_scale = self.radiometry.full_scale
        result = {name: x.astype(float) * full_scale if name == "std" else self.radiometry.to_stored(x) for name, x in found.items()}
        if not all((np.abs(x) < _LARGEST).all() for x in result.values()):
            raise InputError(
                f"what comes out is not finite, of measured values from {values.min():.3g} to {values.max():.3g}: declare what is no "
                "measurement as nodata, or correct the sensor's noise, the weights or the settings"
            )
        return {name: array[:, np.argsort(self.order)] for name, array in result.items()}


def window_margin(bands: tuple[Band, ...], border: int, scale: int = 1) -> int:
    """Unknown pixels around what is measured: PSF radius and the method's border, whole measured pixels."""
    pixels = max(b.mtf.psf(scale).shape[0] // 2 for b in bands) + border
    return -(-pixels // scale) * scale


def scene_bands(profile: SensorProfile, descriptions: tuple[str | None, ...], sample: Sample, noise: object) -> tuple[Band, ...]:
    """The profile's bands for a scene, each with a noise model (estimated where asked for or not in the profile)."""
    found = []
    for k, band in enumerate(profile.match(descriptions)):
        if noise == "estimate" or band.noise is None:
            from imaging.sensors import estimate_noise  # loads what takes a quarter of a second

            offset = band.noise.offset if band.noise else 0.0
            band = replace(band, noise=estimate_noise(sample, k, offset).model())
        found.append(band)
    return tuple(found)


def channel_order(bands: tuple[Band, ...], wanted: tuple[str, ...]) -> list[int]:
    """Place of each channel of a prior among bands that are fitted together: by common names where both know them, else as they are."""
    names = [b.common_name for b in bands]
    if sorted(wanted) != sorted(n or "" for n in names):
        return list(range(len(bands)))
    return [names.index(n) for n in wanted]


def make_fitters(bands: tuple[Band, ...], full_scale: float, sample: Sample, method: Method, seed: int, scale: int = 1) -> list[Fitter]:
    """One fitter for all bands with a method of as many channels, or one for each band; `InputError` for another number of channels.

    Mean and brightest signal are taken from the sampled areas; ``full_scale`` is the stored value of 1.
    """
    channels = method.channels
    if channels not in {1, len(bands)}:
        raise InputError(f"the prior has {channels} channels, the scene {len(bands)} bands; choose with --bands or another --prior")
    groups = [list(range(len(bands)))] if channels == len(bands) else [[i] for i in range(len(bands))]
    margin = window_margin(bands, method.border, scale)
    found = [statistics(sample, i) or Statistics(full_scale / 4, full_scale, full_scale) for i in range(len(bands))]
    fitters = []
    for group in groups:
        order = channel_order(tuple(bands[i] for i in group), method.bands)
        chosen = tuple(bands[group[k]] for k in order)
        offset = np.array([b.noise.offset if b.noise else 0.0 for b in chosen])
        level = float(np.mean([(found[i].mean - o) / full_scale for i, o in zip([group[k] for k in order], offset, strict=True)]))
        high = float(np.max([(found[i].high - o) / full_scale for i, o in zip([group[k] for k in order], offset, strict=True)]))
        level = max(level, 1e-3)
        physics = sensor_physics(chosen, full_scale, margin, scale).to(method.device)
        rate = method.rate(physics, level, high)
        fitters.append(Fitter(method, physics, Radiometry(offset, full_scale), group, order, rate, level, seed * 1009 + group[0]))
    return fitters
