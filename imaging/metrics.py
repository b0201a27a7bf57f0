"""Fidelity and uncertainty of a restoration against a reference."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


def psnr(image: NDArray[Any], reference: NDArray[Any], peak: float, valid: NDArray[np.bool_] | None = None) -> float:
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
    difference = np.asarray(image, dtype=float) - np.asarray(reference, dtype=float)
    error = np.square(difference if valid is None else difference[valid]).mean()
    return math.inf if error == 0 else float(10 * math.log10(peak**2 / error))


def ssim(image: NDArray[Any], reference: NDArray[Any], peak: float) -> float:
    """Structural similarity of two ``(H, W)`` images: Gaussian window of 1.5 pixels (Wang et al. 2004, scikit-image)."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(image, reference, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False))


def coverage(mean: NDArray[Any], std: NDArray[Any], reference: NDArray[Any], level: float, valid: NDArray[np.bool_] | None = None) -> float:
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
    z = NormalDist().inv_cdf(0.5 + level / 2)
    inside = np.abs(np.asarray(reference, dtype=float) - mean) <= z * np.asarray(std, dtype=float)
    return float((inside if valid is None else inside[valid]).mean())
