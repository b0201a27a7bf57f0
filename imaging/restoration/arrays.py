"""Restoring and super-resolving arrays in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.raster import check_values, filled
from imaging.restoration.deciding import decide
from imaging.restoration.fitting import Sample, window_margin
from imaging.restoration.options import RestoreOptions, SuperResolveOptions, checked
from imaging.restoration.superresolution import find_resolver, ranges
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
    options = checked(options, RestoreOptions)
    array = _Array(*checked_array(scene, mask, options.bands))
    decision = decide(array, sensor, options)
    method, values, valid = decision.method, array.values, array.valid
    s, (height, width) = options.scale, values.shape[1:]
    margin = window_margin(decision.bands, method.border, s)
    right, bottom = (-(s * n + 2 * margin + method.room) % method.lattice // s for n in (width, height))
    extend = ((0, 0), (0, bottom), (0, right))
    values, valid = np.pad(values, extend), np.pad(valid, extend)
    result: dict[str, list[NDArray[np.float64]]] = {}
    for fitter in decision.fitters:
        part = fitter(values[None, fitter.indices], valid[None, fitter.indices], [(0, 0)], options.samples, None)
        for name, found in part.items():
            result.setdefault(name, []).append(found[0, :, margin : found.shape[2] - margin, margin : found.shape[3] - margin])
    valid = valid.repeat(s, 1).repeat(s, 2)
    joined = {k: np.where(valid, np.concatenate(v), np.nan)[:, : s * height, : s * width] for k, v in result.items()}
    samples = [joined[f"sample_{k:03d}"] for k in range(options.samples)]
    std = joined.get("std", np.full_like(joined["restored"], np.nan))
    return Restored(joined["restored"], std, np.stack(samples) if samples else np.zeros((0, *std.shape)))


def super_resolve(
    scene: NDArray[Any], *, mask: NDArray[np.bool_] | None = None, options: SuperResolveOptions | None = None
) -> NDArray[np.float32]:  # fmt: skip
    """Super-resolve an array of stored values by a network in 8-bit integers.

    Parameters
    ----------
    scene : ndarray
        ``(H, W)`` or ``(C, H, W)``; NaN and masked values of a masked array count as invalid.
    mask : ndarray of bool, optional
        Broadcastable to the scene, True where valid.
    options : SuperResolveOptions, optional
        ``tile`` does not apply: the array is one window.

    Returns
    -------
    ndarray
        Float32 ``(C, s H, s W)`` at scale s, in the input's unit, neither rounded nor clipped; invalid pixels are NaN.

    Raises
    ------
    InputError
        When the array or a setting cannot be used.

    Examples
    --------
    >>> import imaging, rasterio
    >>> scene = rasterio.open("data/pleiades_like_pan.tif").read()  # doctest: +SKIP
    >>> fine = imaging.super_resolve(scene, options=imaging.SuperResolveOptions(scale=2))  # doctest: +SKIP
    """
    options = checked(options, SuperResolveOptions)
    values, valid = checked_array(scene, mask, options.bands)
    resolver = find_resolver(options)
    resolver.check_bands(len(values))
    if resolver.manifest.bands > 1:
        valid = np.broadcast_to(valid.all(0), valid.shape)
    array, s = _Array(values, valid), resolver.manifest.factor
    full_scale = np.float32(ranges(array, options)[0])
    fine = resolver(filled(array.values, valid) / full_scale) * full_scale
    return np.where(valid.repeat(s, 1).repeat(s, 2), fine, np.float32(np.nan))


class _Array:
    """What is known of a scene in an array ``(C, H, W)``, see `imaging.restoration.deciding.Known`; all of it is its sample."""

    def __init__(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        self.dtype, self.valid = values.dtype, valid
        self.values = np.where(valid, values, 0).astype(np.float32)
        self.descriptions: tuple[str | None, ...] = (None,) * len(values)

    def sample(self, side: int = 256) -> Sample:
        """The array and its validity."""
        return [(self.values, self.valid)]


def checked_array(
    scene: NDArray[Any], mask: NDArray[np.bool_] | None, bands: tuple[int, ...] | None, what: str = "the scene"
) -> tuple[NDArray[Any], NDArray[np.bool_]]:  # fmt: skip
    """The chosen bands ``(C, H, W)`` of an array that can be restored, and their validity."""
    if isinstance(scene, (str, Path)):
        raise InputError(f"{scene} is the name of a file; for files there are restore_scene and super_resolve_scene")
    values, hidden = np.asarray(scene), np.ma.getmaskarray(scene)  # type: ignore[no-untyped-call]
    if values.ndim not in {2, 3} or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(f"{what} has shape {values.shape} and type {values.dtype}; accepted are real arrays (H, W) or (C, H, W)")
    values, valid = values.reshape(-1, *values.shape[-2:]), np.isfinite(values) & ~hidden
    valid = valid.reshape(values.shape)
    if mask is not None:
        try:
            valid = valid & np.broadcast_to(np.asarray(mask, dtype=bool), values.shape)
        except ValueError as error:
            raise InputError(f"the mask has shape {np.shape(mask)}, {what} {np.shape(scene)}; give a mask (H, W) or (C, H, W)") from error
    if bands is not None:
        for band in bands:
            if not 1 <= band <= len(values):
                raise InputError(f"band {band} is not in {what}, which has bands 1 to {len(values)}")
        index = [b - 1 for b in bands]
        values, valid = values[index], valid[index]
    if not valid.any():
        raise InputError(f"{what} has no valid pixel")
    check_values(values[valid], what)
    return values, valid
