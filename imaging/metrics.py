"""Fidelity and uncertainty of a restoration against a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Nominal levels of a coverage curve."""


def _chosen(values: Array, valid: Mask | None) -> NDArray[np.float64]:
    """Values of the valid pixels, or of all."""
    found = np.asarray(values, dtype=float)
    return found if valid is None else found[valid]


def psnr(image: Array, reference: Array, peak: float, valid: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB.

    Parameters
    ----------
    image, reference : ndarray
        Same shape and unit.
    peak : float
        Value of full scale, in that unit.
    valid : ndarray of bool, optional
        Pixels to count.
    """
    error = np.square(_chosen(image, valid) - _chosen(reference, valid)).mean()
    return math.inf if error == 0 else float(10 * math.log10(peak**2 / error))


def ssim(image: Array, reference: Array, peak: float) -> float:
    """Structural similarity of two ``(H, W)`` images: Gaussian window of 1.5 pixels (Wang et al. 2004, scikit-image)."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(image, reference, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False))


def normal_score(level: float) -> float:
    """Half-width, in standard deviations, of the central interval of a normal distribution that holds a share ``level`` in (0, 1)."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def standardised_errors(mean: Array, std: Array, reference: Array, valid: Mask | None = None) -> NDArray[np.float64]:
    """``(reference - mean) / std`` of each pixel; of variance 1 where the standard deviations are right.

    Parameters
    ----------
    mean, std, reference : ndarray
        Same shape and unit, ``std`` above 0.
    valid : ndarray of bool, optional
        Pixels to take; the result is then one-dimensional.
    """
    return (_chosen(reference, valid) - _chosen(mean, valid)) / _chosen(std, valid)


def standardised_histogram(mean: Array, std: Array, reference: Array, edges: Array, valid: Mask | None = None) -> NDArray[np.float64]:
    """Density of the standardised errors in bins, to be laid beside the standard normal density.

    Parameters
    ----------
    mean, std, reference, valid
        As in `standardised_errors`.
    edges : ndarray
        ``(n + 1,)`` ascending; errors outside count towards the total.

    Returns
    -------
    ndarray
        ``(n,)``.
    """
    z = standardised_errors(mean, std, reference, valid)
    counts, _ = np.histogram(z, edges)
    return np.asarray(counts / (z.size * np.diff(edges)))


def coverage(mean: Array, std: Array, reference: Array, level: float, valid: Mask | None = None) -> float:
    """Share of reference pixels inside the central interval ``mean -+ z std``.

    Parameters
    ----------
    mean, std, reference : ndarray
        Same shape and unit.
    level : float
        Nominal coverage, in (0, 1); a calibrated posterior gives this value.
    valid : ndarray of bool, optional
        Pixels to count.
    """
    error = np.abs(_chosen(reference, valid) - _chosen(mean, valid))
    return float((error <= normal_score(level) * _chosen(std, valid)).mean())


def coverage_curve(
    mean: Array, std: Array, reference: Array, levels: Sequence[float] = LEVELS, valid: Mask | None = None
) -> NDArray[np.float64]:
    """`coverage` at each of several levels, ``(len(levels),)``; a calibrated posterior gives the levels themselves."""
    return np.array([coverage(mean, std, reference, level, valid) for level in levels])


def interval_width(std: Array, level: float, valid: Mask | None = None) -> float:
    """Mean full width of the central intervals of a level, in the unit of ``std``: of two that cover alike the narrower is better."""
    return float(2 * normal_score(level) * _chosen(std, valid).mean())


def negative_log_likelihood(mean: Array, std: Array, reference: Array, valid: Mask | None = None) -> float:
    """Mean negative log-density of the reference under normal densities, nats per pixel; lower is better."""
    z = standardised_errors(mean, std, reference, valid)
    return float((z**2 / 2 + np.log(_chosen(std, valid))).mean() + math.log(2 * math.pi) / 2)


def crps(mean: Array, std: Array, reference: Array, valid: Mask | None = None) -> float:
    """Mean continuous ranked probability score of normal densities, in the unit of the images; lower is better.

    In closed form (Gneiting and Raftery 2007, section 4.2); for a point it would be the mean absolute error.
    """
    from scipy.special import ndtr

    z, spread = standardised_errors(mean, std, reference, valid), _chosen(std, valid)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float((spread * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))).mean())


def crps_of_samples(samples: Array, reference: Array) -> float:
    """Mean continuous ranked probability score of an ensemble, unbiased for its size (Ferro 2014), in the unit of the images.

    Parameters
    ----------
    samples : ndarray
        ``(n, ...)`` independent draws, n at least 2.
    reference : ndarray
        Of the shape of one draw.
    """
    drawn = np.sort(np.asarray(samples, dtype=float), axis=0)
    count = len(drawn)
    if count < 2:
        raise ValueError(f"{count} samples; at least 2 are needed")
    rank = (2 * np.arange(count) - count + 1).reshape(-1, *(1,) * (drawn.ndim - 1))
    spread = (rank * drawn).sum(0) / (count * (count - 1))  # half the mean absolute difference of two draws
    return float((np.abs(drawn - reference).mean(0) - spread).mean())


def coverage_by(
    mean: Array, std: Array, reference: Array, by: Array, level: float, groups: int = 10, valid: Mask | None = None
) -> NDArray[np.float64]:
    """Coverage in groups of pixels of equal number, from the lowest to the highest value of something else.

    Parameters
    ----------
    mean, std, reference, level, valid
        As in `coverage`.
    by : ndarray
        Same shape: for instance the mean (brightness) or `local_contrast` of it. What depends on the reference selects by its error too.
    groups : int
        How many.

    Returns
    -------
    ndarray
        ``(groups,)``.
    """
    z = np.abs(standardised_errors(mean, std, reference, valid)).ravel()
    value = np.asarray(by if valid is None else by[valid]).ravel()
    parts = np.array_split(value.argsort(kind="stable"), groups)
    return np.array([float((z[p] <= normal_score(level)).mean()) for p in parts])


def local_contrast(image: Array, size: int = 9) -> NDArray[np.float64]:
    """Standard deviation of an image ``(..., H, W)`` over ``size`` x ``size`` pixels around each one, in its unit."""
    from scipy.ndimage import uniform_filter

    values = np.asarray(image, dtype=float)
    window = (1,) * (values.ndim - 2) + (size, size)
    values = values - values.mean()
    variance = uniform_filter(values**2, window, mode="reflect") - uniform_filter(values, window, mode="reflect") ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)))


def frequency_bands(shape: tuple[int, int], bands: int) -> NDArray[np.bool_]:
    """Masks ``(bands, H, W // 2 + 1)`` on the grid of ``rfft2``: rings of equal width up to Nyquist, the last with the corners."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    index = np.minimum((radius / 0.5 * bands).astype(int), bands - 1)
    return np.asarray(index[None] == np.arange(bands)[:, None, None])


def coverage_by_frequency(mean: Array, samples: Array, reference: Array, level: float, bands: int = 4) -> NDArray[np.float64]:
    """Coverage of the reference's content in bands of spatial frequency, by intervals from posterior samples.

    Each image is windowed, so that its borders do not leak into all frequencies, and split into rings. In a ring, a pixel's interval is
    ``mean -+ t s`` with ``s`` the root mean square deviation of the samples from the mean and ``t`` Student's quantile for their number,
    which is exact for normal posteriors whatever that number is.

    Parameters
    ----------
    mean : ndarray
        ``(..., H, W)`` posterior mean.
    samples : ndarray
        ``(n, ..., H, W)`` independent posterior samples.
    reference : ndarray
        Of the shape of ``mean``.
    level : float
        Nominal coverage, in (0, 1).
    bands : int
        Rings, from zero frequency to Nyquist.

    Returns
    -------
    ndarray
        ``(bands,)``, from low to high frequencies. Pixels within an eighth of the border are not counted.
    """
    from scipy.stats import t as student

    height, width = mean.shape[-2:]
    window = np.outer(_taper(height), _taper(width))
    inner = (..., slice(height // 8, -(height // 8) or None), slice(width // 8, -(width // 8) or None))
    score = student.ppf(0.5 + level / 2, len(samples))
    deviations = np.fft.rfft2((np.asarray(samples, dtype=float) - mean) * window)
    error = np.fft.rfft2((np.asarray(reference, dtype=float) - mean) * window)
    found = []
    for ring in frequency_bands((height, width), bands):
        spread = np.sqrt(np.square(np.fft.irfft2(deviations * ring, s=(height, width))).mean(0))
        found.append(float((np.abs(np.fft.irfft2(error * ring, s=(height, width))) <= score * spread)[inner].mean()))
    return np.array(found)


def _taper(size: int) -> NDArray[np.float64]:
    """One inside, falling to zero over an eighth at both ends."""
    edge = max(1, size // 8)
    ramp = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2
    return np.concatenate([ramp, np.ones(size - 2 * edge), ramp[::-1]])


def block_mean(image: Array, size: int) -> NDArray[np.float64]:
    """Means over blocks of ``size`` x ``size`` pixels of ``(..., H, W)``; rows and columns that fill no block are left out."""
    values = np.asarray(image, dtype=float)
    height, width = (n // size for n in values.shape[-2:])
    cut = values[..., : height * size, : width * size]
    return np.asarray(cut.reshape(*cut.shape[:-2], height, size, width, size).mean((-3, -1)))
