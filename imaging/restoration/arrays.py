"""Restoring an array in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.names import ESTIMATE
from imaging.raster import check_values
from imaging.restoration.deciding import decide
from imaging.restoration.fitting import scene_bands, window_margin
from imaging.restoration.options import RestoreOptions
from imaging.restoration.planning import estimated_profile, sensor_profile
from imaging.restoration.radiometry import check_signal, stored_range
from imaging.sensors import SensorProfile


class Restored(NamedTuple):
    """A restored scene, float64 in the input's unit.

    Attributes
    ----------
    restored, std : ndarray
        ``(C, s H, s W)`` at scale s: posterior means and standard deviations of the pixels.
    samples : ndarray
        ``(n, C, s H, s W)`` posterior samples.
    """

    restored: NDArray[np.float64]
    std: NDArray[np.float64]
    samples: NDArray[np.float64]


def restore(
    scene: NDArray[Any], sensor: str | SensorProfile, *, mask: NDArray[np.bool_] | None = None, options: RestoreOptions | None = None
) -> Restored:
    """Restore an array of stored values, as one window.

    Parameters
    ----------
    scene : ndarray
        ``(H, W)`` or ``(C, H, W)`` in the sensor's stored unit (DN); NaN and masked values of a masked array count as invalid.
    sensor : str or SensorProfile
        Name of a profile, path of a TOML file, a profile, or ``"estimate"``. Its bands are matched by order.
    mask : ndarray of bool, optional
        Broadcastable to the scene, True where valid.
    options : RestoreOptions, optional
        ``tile`` and ``batch`` do not apply.

    Returns
    -------
    Restored
        Of the same height and width, times ``options.scale``; invalid pixels are NaN, and so are all standard deviations of methods
        that are points.

    Raises
    ------
    InputError
        When the array or a setting cannot be used.

    Examples
    --------
    >>> import imaging, rasterio
    >>> scene = rasterio.open("data/pleiades_like_pan.tif").read()  # doctest: +SKIP
    >>> restored, std, _ = imaging.restore(scene, "pleiades-raw")  # doctest: +SKIP
    """
    options = options or RestoreOptions()
    values, valid = _checked(scene, mask, options.bands)
    sample = [(np.where(valid, values, 0).astype(np.float32), valid)]
    estimated = sensor == ESTIMATE
    names = (None,) * len(values)
    profile = estimated_profile(sample, values.dtype, names, options)[0] if estimated else sensor_profile(sensor, options)
    profile, full_scale, _ = stored_range(profile, values.dtype, float(values[valid].max()), ESTIMATE if estimated else options.noise)
    values = sample[0][0]
    bands = scene_bands(profile, names, sample, options.noise)
    check_signal(bands, sample)
    decision = decide(options, bands, full_scale, sample)
    method = decision.method
    s, (height, width) = options.scale, values.shape[1:]
    margin = window_margin(bands, method.border, s)
    right, bottom = (-(s * n + 2 * margin + method.room) % method.lattice // s for n in (width, height))
    extend = ((0, 0), (0, bottom), (0, right))
    values, valid = np.pad(values, extend), np.pad(valid, extend)
    result: dict[str, list[NDArray[np.float64]]] = {}
    for fitter in decision.fitters:
        part = fitter(values[None, fitter.indices], valid[None, fitter.indices], [(0, 0)], options.samples, None)
        for name, array in part.items():
            result.setdefault(name, []).append(array[0, :, margin : array.shape[2] - margin, margin : array.shape[3] - margin])
    valid = valid.repeat(s, 1).repeat(s, 2)
    joined = {k: np.where(valid, np.concatenate(v), np.nan)[:, : s * height, : s * width] for k, v in result.items()}
    samples = [joined[f"sample_{k:03d}"] for k in range(options.samples)]
    std = joined.get("std", np.full_like(joined["restored"], np.nan))
    return Restored(joined["restored"], std, np.stack(samples) if samples else np.zeros((0, *std.shape)))


def _checked(scene: NDArray[Any], mask: NDArray[np.bool_] | None, bands: tuple[int, ...] | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The chosen bands ``(C, H, W)`` of an array that can be restored, and their validity."""
    values, hidden = np.asarray(scene), np.ma.getmaskarray(scene)  # type: ignore[no-untyped-call]
    if values.ndim not in {2, 3} or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(f"the scene has shape {values.shape} and type {values.dtype}; accepted are real arrays (H, W) or (C, H, W)")
    values, valid = values.reshape(-1, *values.shape[-2:]), np.isfinite(values) & ~hidden
    valid = valid.reshape(values.shape)
    if mask is not None:
        try:
            valid = valid & np.broadcast_to(np.asarray(mask, dtype=bool), values.shape)
        except ValueError as error:
            raise InputError(
                f"the mask has shape {np.shape(mask)}, the scene {np.shape(scene)}; give a mask (H, W) or (C, H, W)"
            ) from error
    if bands is not None:
        for band in bands:
            if not 1 <= band <= len(values):
                raise InputError(f"band {band} is not in the scene, which has bands 1 to {len(values)}")
        index = [b - 1 for b in bands]
        values, valid = values[index], valid[index]
    if not valid.any():
        raise InputError("the scene has no valid pixel")
    check_values(values[valid], "the scene")
    return values, valid
