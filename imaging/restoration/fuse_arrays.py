"""Fusing the bands of a bundle in memory."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.raster import Area
from imaging.restoration.arrays import Restored, checked_array
from imaging.restoration.bundle import Pieces, make_stack
from imaging.restoration.file_bundle import SIDE, sampled
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusion_choice import choose_fusion_method
from imaging.restoration.fusion_methods import BundleWindow
from imaging.restoration.method import torch_device
from imaging.restoration.options import checked
from imaging.sensors import SensorProfile, load_profile

RATIOS = range(2, 7)
"""Panchromatic pixels to a multispectral one along each side."""


class ArrayBundle:
    """What is known of a bundle in arrays whose grids share the corner of their first pixels; see `KnownBundle`."""

    def __init__(self, whole: Pieces, dtypes: tuple[np.dtype[Any], np.dtype[Any]]) -> None:
        self.whole, self.dtypes = whole, dtypes
        self.shift = (0.0, 0.0)
        self.ratio = whole.sharp.shape[1] // whole.coarse.shape[1]
        self.descriptions: tuple[tuple[str | None, ...], tuple[str | None, ...]] = ((None,) * len(whole.sharp), (None,) * len(whole.coarse))

    @cached_property
    def _sampled(self) -> list[tuple[Area, Pieces]]:
        """Some places, in coarse pixels; those at the lower and right end may be larger by a half."""
        rows, columns = ([0, *range(SIDE, n - SIDE // 2, SIDE), n] for n in self.whole.coarse.shape[1:])
        areas = [Area(r, c, bottom - r, right - c) for r, bottom in pairwise(rows) for c, right in pairwise(columns)]
        found = sampled(areas, self._piece)
        if not found:
            raise InputError("the multispectral and the panchromatic scene have no valid pixel in common")
        return found

    def _piece(self, area: Area) -> Pieces:
        low = (slice(None), slice(area.row, area.row + area.height), slice(area.column, area.column + area.width))
        fine = (slice(None), *(slice(self.ratio * s.start, self.ratio * s.stop) for s in low[1:]))
        whole = self.whole
        return Pieces(whole.sharp[fine], whole.sharp_valid[fine], whole.coarse[low], whole.coarse_valid[low])

    def pieces(self) -> list[Pieces]:
        """See `KnownBundle`; `InputError` where no pixel is valid in both."""
        return [p for _, p in self._sampled]

    def places(self) -> list[tuple[float, float]]:
        """See `KnownBundle`."""
        return [(self.ratio * (a.row + a.height / 2), self.ratio * (a.column + a.width / 2)) for a, _ in self._sampled]


def fuse(
    ms: NDArray[Any], pan: NDArray[Any], sensor: str | SensorProfile, *, mask: NDArray[np.bool_] | None = None,
    pan_mask: NDArray[np.bool_] | None = None, options: FuseOptions | None = None,
) -> Restored:  # fmt: skip
    """Fuse multispectral and panchromatic stored values whose grids share the corner of their first pixels, as one window.

    Parameters
    ----------
    ms : ndarray
        ``(C, H, W)`` in the sensor's stored unit (DN); NaN and masked values of a masked array count as invalid.
    pan : ndarray
        ``(r H, r W)`` or ``(1, r H, r W)`` with a whole ratio r from 2 to 6, of the same type and unit.
    sensor : str or SensorProfile
        Name of a profile, path of a TOML file, or a profile, with one band of a finer ground sample distance than the others, which are
        matched by order.
    mask, pan_mask : ndarray of bool, optional
        Broadcastable to ``ms`` and ``pan``, True where valid.
    options : FuseOptions, optional
        ``tile`` and ``batch`` do not apply.

    Returns
    -------
    Restored
        The multispectral bands ``(C, r H, r W)`` on the panchromatic grid; pixels are NaN where either was not measured.

    Raises
    ------
    InputError
        When an array or a setting cannot be used, or the two do not show one place at one time.

    Examples
    --------
    >>> import imaging, rasterio
    >>> ms, pan = rasterio.open("ms.tif").read(), rasterio.open("pan.tif").read()  # doctest: +SKIP
    >>> fused, std, _ = imaging.fuse(ms, pan, "pleiades")  # doctest: +SKIP
    """
    options = checked(options, FuseOptions)
    values, valid = checked_array(ms, mask, options.bands, "the multispectral scene")
    sharp, sharp_valid = checked_array(pan, pan_mask, None, "the panchromatic scene")
    ratio = sharp.shape[1] / values.shape[1]
    if len(sharp) != 1 or sharp.shape[1:] != tuple(round(ratio) * n for n in values.shape[1:]) or round(ratio) not in RATIOS:
        raise InputError(
            f"the panchromatic scene has shape {np.shape(pan)}, the multispectral one {np.shape(ms)}; accepted are (r H, r W) and "
            "(C, H, W) with one whole ratio r from 2 to 6"
        )
    fine, low = (np.where(m, v, 0).astype(np.float32) for v, m in ((sharp, sharp_valid), (values, valid)))
    whole = Pieces(fine, sharp_valid, low, valid)
    device = torch_device(options.device)
    profile = sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
    stack, _ = make_stack(ArrayBundle(whole, (sharp.dtype, values.dtype)), profile, options, device)
    method, _ = choose_fusion_method(options, [stack], device)
    r = stack.ratio
    middle = r * values.shape[1] / 2, r * values.shape[2] / 2
    with torch.no_grad():
        posterior = method.fuse(BundleWindow(stack.tensors(whole), stack.model_at(*middle), [(0, 0)], options.seed), stack)
        mean, deviation = posterior.moments()
        drawn = [posterior.sample(1, first=k)[0] for k in range(options.samples)]
    shown = valid.repeat(r, 1).repeat(r, 2) & sharp_valid
    radiometry, count = stack.radiometry[1], len(values)

    def stored(x: torch.Tensor) -> NDArray[np.float64]:
        return np.where(shown, radiometry.to_stored(x[0, -count:].cpu().numpy()), np.nan)

    std = np.where(shown, deviation[0, -count:].cpu().numpy().astype(float) * radiometry.full_scale, np.nan)
    samples = [stored(d) for d in drawn]
    return Restored(stored(mean), std, np.stack(samples) if samples else np.zeros((0, *std.shape)))
