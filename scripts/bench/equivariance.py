"""What a restoration commutes with: a scene that is changed and restored, against the restored scene that is changed.

    python -m scripts.bench equivariance [--methods amortised vble-xz ...] [--sample SCENE.tif --reference TRUTH.tif --sensor NAME]

The sensor's noise goes with the values; its MTF must be the same along both axes for the transposed scene. Root mean square and largest
difference, in standard deviations of the restored pixel, of a method without them in those of the noise at the mean signal; ``inner``
leaves out 12 pixels along each side. What the restoration errs by at all, in the same unit, stands first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import rasterio

import imaging
from imaging.restoration import RestoreOptions
from imaging.sensors import SensorProfile
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, crossed
from scripts.command import SAMPLE
from scripts.scenes import Array
from scripts.sensors import with_noise

OPTIONS: dict[str, dict[str, object]] = {
    "--sample": {}, "--sensor": {}, "--iterations": {}, "--methods": {"default": ["amortised", "vble-xz", "tv", "wcrr"]},
    "--reference": {"type": Path, "default": SAMPLE.with_name("pleiades_like_pan_reference.tif")},
    "--corner": {"type": int, "nargs": 2, "default": (100, 100)}, "--size": {"type": int, "nargs": 2, "default": (80, 72)},
}  # fmt: skip
EDGE = 12
ERROR, CONSTANT = "none: the error itself", "a constant scene, against itself"
PLACES: dict[str, Callable[[Array], Array]] = {
    "turned over, left to right": lambda x: x[..., ::-1],
    "turned over, top to bottom": lambda x: x[..., ::-1, :],
    "turned by 180 degrees": lambda x: x[..., ::-1, ::-1],
    "transposed": lambda x: x.swapaxes(-1, -2),
}
"""Changes of where pixels lie, each its own inverse."""
VALUES = {"zero signal stored as 1000": (1.0, 1000.0)} | {f"values and noise times {k:g}": (k, 0.0) for k in (2.0, 0.5, 1e-2, 1e-6)}
"""Factor and shift of the values."""


def run(a: argparse.Namespace, results: Results) -> None:
    """All methods and changes."""
    (row, column), (height, width) = a.corner, a.size
    window = ((row, row + height), (column, column + width))
    scene, truth = (rasterio.open(path).read(window=window).astype(np.float32) for path in (a.sample, a.reference))
    loaded = imaging.load_profile(a.sensor)
    profile = replace(loaded, bands=loaded.match((None,) * len(scene)))
    noise = np.array([np.sqrt(b.noise.variance(v.mean())) for b, v in zip(profile.bands, scene, strict=True) if b.noise])
    flat = np.broadcast_to(scene.mean((1, 2), keepdims=True), scene.shape)

    def restored(values: Array, sensor: SensorProfile, method: str) -> imaging.Restored:
        return imaging.restore(values.astype(np.float32), sensor, options=RestoreOptions(method=method, iterations=a.iterations))

    plain = cache(lambda method: restored(scene, profile, method))

    def compared(what: str, method: str) -> Record:
        found, std, _ = plain(method)
        unit, wanted = np.where(np.isfinite(std), std, noise[:, None, None]), truth
        if what == CONSTANT:
            found, wanted = restored(flat, profile, method).restored, flat
        elif what != ERROR:
            place, (factor, shift), wanted = PLACES.get(what, np.asarray), VALUES.get(what, (1.0, 0.0)), found
            sensor = with_noise(profile, lambda n: replace(n, sigma0=factor * n.sigma0, gain=factor * n.gain, offset=n.offset + shift))
            found = (place(restored(factor * place(scene) + shift, sensor, method).restored) - shift) / factor
        gap = np.abs(found - wanted) / unit
        rms, inner = (float(np.sqrt(np.square(g).mean())) for g in (gap, gap[..., EDGE:-EDGE, EDGE:-EDGE]))
        return {"rms": rms, "largest": float(gap.max()), "inner": inner}

    for method in a.methods:
        for what in (ERROR, CONSTANT, *PLACES, *VALUES):
            results.once({"method": method, "change": what}, compared, what, method)


def tables(records: Records) -> dict[str, str]:
    """Of each change and method."""
    return {"all": crossed(records, "change", "method", "what is changed", ("rms", ".2g"))}
