"""Values that are computed and values that are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError

_LARGEST = 1e30


def check_values(values: NDArray[Any], name: str) -> None:
    """Refuse real values that no sensor measures, such as a nodata value that is not declared.

    Parameters
    ----------
    values : ndarray
        Not empty; invalid ones are 0.
    name : str
        What holds them.

    Raises
    ------
    InputError
        With the largest of them.
    """
    largest = max(float(values.min()), float(values.max()), key=abs)
    if not abs(largest) < _LARGEST:
        raise InputError(f"{name} holds values such as {largest:.3g}, which no sensor measures: declare them as nodata")


def filled(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Values ``(C, h, w)`` with invalid pixels taken from the nearest valid one; a band without any stays as it is."""
    if valid.all():
        return values
    from scipy.ndimage import distance_transform_edt

    result = values.copy()
    for band, good in zip(result, valid, strict=True):
        if good.any():
            rows, columns = distance_transform_edt(~good, return_distances=False, return_indices=True)
            band[...] = band[rows, columns]
    return result


def as_stored(values: NDArray[Any], original: NDArray[Any], nodata: float | None, full_scale: float) -> NDArray[Any]:
    """Values rounded and clipped to what is stored; none equals nodata by accident.

    Parameters
    ----------
    values : ndarray
        Computed, in stored units.
    original : ndarray
        What the scene stores, of the stored type and broadcastable; where it exceeds the full scale, so may the values.
    nodata : float or None
        Value of pixels without data.
    full_scale : float
        Largest value of whole numbers otherwise.
    """
    dtype = original.dtype
    if dtype.kind == "f":
        exact = values.astype(dtype)
        return exact if nodata is None else np.where(exact == dtype.type(nodata), np.nextafter(exact, dtype.type(np.inf)), exact)
    info = np.iinfo(dtype)
    largest = np.minimum(np.maximum(full_scale, original.astype(float)), info.max)
    rounded = np.asarray(np.clip(np.rint(values), info.min, largest))
    if nodata is None:
        return rounded
    return np.where(rounded == nodata, nodata + 1 if nodata < info.max else nodata - 1, rounded)
