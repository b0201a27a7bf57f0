"""Scenes of patches and what sensors measure of them, and how far fused ones are from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from imaging.fusion import bundle_physics, matched
from imaging.sensors import Band, SensorProfile
from tests.scenes import read

Values = NDArray[np.float64]
Stored = NDArray[np.uint16]
MARGIN, INSIDE = 60, 24
"""Unknown pixels around a scene, and those along its edge that do not count."""


def sources(count: int, side: int, seed: int, patches: int) -> Values:
    """Independent fields of patches, half of them flat and half with texture, of deviation 1: ``(count, side, side)``."""
    rng = np.random.default_rng(seed)
    places = rng.random((patches, 2)) * side
    rows, columns = np.mgrid[:side, :side]
    nearest = ((rows[..., None] - places[:, 0]) ** 2 + (columns[..., None] - places[:, 1]) ** 2).argmin(-1)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]).clip(0.05)
    texture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((count, side, side))) / frequency**1.3, s=(side, side))
    texture /= texture.std((1, 2), keepdims=True)
    fields = rng.normal(size=(count, patches))[:, nearest] + np.resize([0, 0.3, 0, 0.6], patches)[nearest] * texture
    return np.asarray((fields - fields.mean((1, 2), keepdims=True)) / fields.std((1, 2), keepdims=True))


def scene(mix: Values, side: int, seed: int, mean: float, deviation: float, patches: int = 32) -> Values:
    """Bands that are mixtures ``(bands, sources)`` of fields, but for a tenth of their variance, with margins of `MARGIN` pixels."""
    fields = sources(sum(mix.shape), side + 2 * MARGIN, seed, patches)
    bands = np.einsum("bs,shw->bhw", mix / np.linalg.norm(mix, axis=1, keepdims=True), fields[: mix.shape[1]])
    return mean + deviation * (0.9**0.5 * bands + 0.1**0.5 * fields[mix.shape[1] :])


def within(x: Values) -> Values:
    """A scene without its margins."""
    return x[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def stored(image: Any, full_scale: float, bands: Sequence[Band]) -> Stored:
    """Whole numbers above 0 of an image ``(bands, height, width)`` in image units."""
    offset = np.array([b.noise.offset if b.noise else 0.0 for b in bands])[:, None, None]
    return np.asarray((image.numpy() * full_scale + offset).round().clip(1, 65535).astype(np.uint16))


def bundle(
    profile: SensorProfile, x: Values, weights: Sequence[float], ratio: int, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Stored, Stored]:  # fmt: skip
    """Panchromatic and multispectral measurement of a scene with margins, by the profile's first band and the others.

    The scene has the sharpness that is the profile's target.
    """
    fine, others = profile.bands[:1], tuple(replace(b, mtf=matched(b.mtf, profile.bands[0].mtf, ratio)) for b in profile.bands[1:])
    physics = bundle_physics(fine, others, torch.tensor([weights]), profile.full_scale, ratio, shift=shift, margin=MARGIN)
    torch.manual_seed(1)
    sharp, coarse = physics(torch.from_numpy(x / profile.full_scale).float()[None])
    return stored(sharp[0], profile.full_scale, profile.bands[:1]), stored(coarse[0], profile.full_scale, profile.bands[1:])


def errors_and_coverage(result: Any, truth: Values, edge: int = INSIDE) -> tuple[Values, Values]:
    """Root mean square error of each band and share of true values inside the 90 % intervals, the edge left out."""
    inner = (slice(None), slice(edge, -edge), slice(edge, -edge))
    error = np.abs(read(Path(result.restored)).astype(float) - truth)[inner]
    assert result.std is not None
    inside = error < 1.645 * read(Path(result.std))[inner]
    return np.sqrt((error**2).mean((1, 2))), inside.mean((1, 2))


def cubic_errors(coarse: Stored, ratio: int, truth: Values, edge: int = INSIDE) -> Values:
    """What bicubic interpolation of the coarse bands leaves."""
    found = np.stack([zoom(band.astype(float), ratio, order=3, mode="nearest", grid_mode=True) for band in coarse])
    return np.asarray(np.sqrt(((found - truth)[:, edge:-edge, edge:-edge] ** 2).mean((1, 2))))
