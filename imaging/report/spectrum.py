"""Radial power spectra before and after: the contrast that was gained at each spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.report.layers import Trio, shuffled
from imaging.sensors import Mtf

_SIDES, _MOST, _RINGS = (256, 128, 64), 16, 48
"""Sides of squares, the first of which all bands have a valid one; how many; rings up to the measurement's Nyquist frequency."""


@dataclass(frozen=True)
class Spectrum:
    """Mean radial power spectra of one band, ``(rings,)`` by layer, by frequency in cycles per measured pixel, up to half the factor.

    Powers are stored units squared for each Fourier coefficient; that of ``measured`` is NaN above the measurement's Nyquist frequency.
    """

    frequency: NDArray[np.float64]
    power: dict[str, NDArray[np.float64]]


def spectra(trio: Trio, factors: list[int]) -> list[Spectrum]:
    """Spectra of each band, means over spread squares that are valid everywhere; outputs are ``factors`` times as fine as measured."""
    bands = len(trio.restored.bands)
    for side in _SIDES:
        found: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in range(bands)]
        for area in shuffled([a for a in trio.restored.blocks(side) if min(a.height, a.width) == side]):
            layers = trio.read(area)
            for k, squares in enumerate(found):
                if len(squares) < _MOST and all(np.isfinite(layers[n][k]).all() for n in ("measured", "restored")):
                    squares.append(_powers(layers, k, factors[k]))
            if all(len(squares) == _MOST for squares in found):
                break
        if all(found):
            break
    return [_mean(squares, factor) for squares, factor in zip(found, factors, strict=True)]


def _powers(layers: dict[str, NDArray[np.float32]], band: int, factor: int) -> dict[str, NDArray[np.float64]]:
    whole = tuple(slice(n - n % factor) for n in layers["restored"].shape[1:])
    measured, restored = (layers[name][band][whole] for name in ("measured", "restored"))
    return {"measured": radial(measured[::factor, ::factor], _RINGS), "restored": radial(restored, factor * _RINGS) / factor**2}


def _mean(squares: list[dict[str, NDArray[np.float64]]], factor: int) -> Spectrum:
    frequency = (np.arange(factor * _RINGS) + 0.5) / (2 * _RINGS)
    power = {}
    for name, rings in (("measured", _RINGS), ("restored", factor * _RINGS)):
        mean = np.mean([s[name] for s in squares], 0) if squares else np.full(rings, np.nan)
        power[name] = np.pad(mean, (0, len(frequency) - rings), constant_values=np.nan)
    return Spectrum(frequency, power)


def radial(image: NDArray[np.float32], rings: int) -> NDArray[np.float64]:
    """Mean power ``|F|^2 / sum(w^2)`` of a square image, less its mean and under a Hann window w, in rings up to Nyquist."""
    side = min(image.shape)
    square = np.asarray(image[:side, :side], float)
    window = np.outer(np.hanning(side + 1)[:side], np.hanning(side + 1)[:side])
    power = np.abs(np.fft.fft2((square - square.mean()) * window)) ** 2 / (window**2).sum()
    axis = np.fft.fftfreq(side)
    ring = np.floor(np.hypot(axis[:, None], axis[None]) / 0.5 * rings).astype(int)
    inside = ring < rings
    count = np.maximum(np.bincount(ring[inside], minlength=rings), 1)
    return np.asarray(np.bincount(ring[inside], power[inside], minlength=rings) / count)


def ideal_gain(mtf: Mtf, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain that undoes the blur entirely: inverse of the PSF's transfer function, its mean over directions; NaN above 0.5 cycles."""
    kernel = mtf.psf()
    rows = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    columns = np.arange(kernel.shape[1]) - kernel.shape[1] // 2
    angles = np.linspace(0, np.pi, 16, endpoint=False)
    response = [
        np.abs(np.exp(-2j * np.pi * f * np.sin(a) * rows) @ kernel @ np.exp(-2j * np.pi * f * np.cos(a) * columns))
        for f in frequency
        for a in angles
    ]
    mean = np.reshape(response, (len(frequency), len(angles))).mean(1)
    return np.asarray(np.where(frequency <= 0.5, 1 / np.maximum(mean, 1e-3), np.nan))
