"""Point spread functions from modulation transfer functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]

_RADIUS = 6
"""Largest PSF radius made from an MTF curve, pixels of the measurement."""


def gaussian_sigma(nyquist: float) -> float:
    r"""Standard deviation in pixels of the Gaussian PSF with a given MTF at the Nyquist frequency: :math:`\sqrt{-2\ln M}/\pi`."""
    return math.sqrt(-2 * math.log(nyquist)) / math.pi


def mtf_curve(shape: str, nyquist: float, frequency: NDArray[Any]) -> NDArray[np.float64]:
    """MTF along one axis, at frequencies in cycles per pixel, of value ``nyquist``, in (0, 1), at 0.5.

    That of shape ``gaussian`` is ``exp(-2 pi^2 sigma^2 f^2)``, that of shape ``exponential`` is ``exp(-a |f|)``.
    """
    f = np.abs(np.asarray(frequency, dtype=float)) / 0.5
    if shape == "gaussian":
        return np.asarray(nyquist ** (f**2))
    if shape == "exponential":
        return np.asarray(nyquist**f)
    raise ValueError(f"shape is {shape!r}; accepted are gaussian and exponential")


def line_spread(shape: str, nyquist: float, factor: int = 1, shift: float = 0.0) -> Kernel:
    """One-dimensional kernel (odd, sum 1; 13 taps at factor 1) whose transfer function follows the MTF curve, see `mtf_curve`.

    Least-squares fit of the curve over all frequencies up to Nyquist, exact at zero and at the measurement's Nyquist frequency. A Gaussian
    sampled at pixel centres would not do: its own aliasing doubles the response at Nyquist.

    The kernel's grid has ``factor`` pixels to one of the measurement. Where that number is even, the centre of a measured pixel lies
    between pixels of the finer grid: the kernel is centred ``(factor - 1) / 2`` pixels before its middle tap, so that a convolution sampled
    at the first of the pixels that a measured one covers sees the middle of them, or ``shift`` pixels of the finer grid further on.
    """
    radius, centre = _RADIUS * factor + factor // 2 + math.ceil(abs(shift)), -(factor - 1) / 2 - shift
    n = np.arange(-radius, radius + 1)
    frequency = np.fft.fftfreq(1024)
    kernel = np.fft.ifft(mtf_curve(shape, nyquist, factor * frequency) * np.exp(-2j * np.pi * frequency * centre)).real[n % 1024]
    constraints = np.stack([np.ones(len(n)), np.cos(np.pi * (n - centre) / factor)])
    missing = np.array([1.0, nyquist]) - constraints @ kernel
    return np.asarray(kernel + constraints.T @ np.linalg.solve(constraints @ constraints.T, missing))


def separable_psf(shape: str, nyquist: tuple[float, float], factor: int = 1, shift: tuple[float, float] = (0.0, 0.0)) -> Kernel:
    """Two-dimensional kernel ``(rows, columns)``, square and odd, from the MTF across track (columns) and along track (rows).

    ``shift`` is to the right and down, pixels of the kernel's grid; see `line_spread`.
    """
    across, along = (line_spread(shape, v, factor, s) for v, s in zip(nyquist, shift, strict=True))
    more = (len(along) - len(across)) // 2
    return np.asarray(np.outer(np.pad(along, max(0, -more)), np.pad(across, max(0, more))), dtype=float)


def nyquist_of(kernel: Kernel) -> tuple[float, float]:
    """MTF at Nyquist, across and along track, of a normalised kernel ``(rows, columns)``."""
    rows, columns = (np.arange(n) - n // 2 for n in kernel.shape)
    total = kernel.sum()
    across = abs((kernel.sum(0) * np.cos(np.pi * columns)).sum() / total)
    along = abs((kernel.sum(1) * np.cos(np.pi * rows)).sum() / total)
    return float(across), float(along)
