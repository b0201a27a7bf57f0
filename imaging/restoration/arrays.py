"""Restoring an array in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.restoration.fitting import make_fitters, scene_bands, window_margin
from imaging.restoration.options import RestoreOptions
from imaging.sensors import SensorProfile, load_profile


class Restored(NamedTuple):
    """Restored values, their standard deviations, ``(C, H, W)``, and samples ``(n, C, H, W)``, float64 in the unit of the input."""

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
        ``(H, W)`` or ``(C, H, W)`` in the sensor's stored unit (DN); NaN counts as invalid.
    sensor : str or SensorProfile
        Name of a profile, path of a TOML file, or a profile.
    mask : ndarray of bool, optional
        ``(H, W)`` or ``(C, H, W)``, True where valid.
    options : RestoreOptions, optional
        ``tile`` and ``batch`` do not apply.

    Returns
    -------
    Restored
        Of the same height and width; invalid pixels are NaN.

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
    values = np.asarray(scene)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(f"the scene has shape {np.shape(scene)} and type {values.dtype}; accepted are real arrays (H, W) or (C, H, W)")
    valid = np.isfinite(values) if mask is None else np.broadcast_to(mask, values.shape) & np.isfinite(values)
    if not valid.any():
        raise InputError("the scene has no valid pixel")
    values = np.where(valid, values, 0).astype(np.float32)
    profile = sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
    profile = profile.with_overrides(mtf_nyquist=options.mtf_nyquist, noise=None if isinstance(options.noise, str) else options.noise)
    sample = [(values, valid)]
    bands = scene_bands(profile, (None,) * len(values), sample, options.noise)
    prior = load_prior(options.prior, options.torch_device())
    margin = window_margin(bands, prior)
    right, bottom = (-(n + 2 * margin) % prior.hyper_stride for n in (values.shape[2], values.shape[1]))
    extend = ((0, 0), (0, bottom), (0, right))
    values, valid = np.pad(values, extend), np.pad(valid, extend)
    result: dict[str, list[NDArray[np.float64]]] = {}
    for fitter in make_fitters(bands, profile.full_scale, sample, prior, options.fit_settings(), options.seed):
        part = fitter(values[None, fitter.indices], valid[None, fitter.indices], [(0, 0)], options.samples, None)
        for name, array in part.items():
            result.setdefault(name, []).append(array[0, :, margin : array.shape[2] - margin, margin : array.shape[3] - margin])
    joined = {
        k: np.where(valid, np.concatenate(v), np.nan)[:, : valid.shape[1] - bottom, : valid.shape[2] - right] for k, v in result.items()
    }
    samples = [joined[f"sample_{k:03d}"] for k in range(options.samples)]
    return Restored(joined["restored"], joined["std"], np.stack(samples) if samples else np.zeros((0, *joined["std"].shape)))
