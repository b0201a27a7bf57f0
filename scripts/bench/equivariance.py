"""What a restoration commutes with: a scene that is changed and restored, against the restored scene that is changed.

    python -m scripts.bench equivariance [--methods amortised vble-xz ...] [--sample SCENE.tif --reference TRUTH.tif --sensor NAME]

The sensor's noise goes with the values; its MTF must be the same along both axes for the transposed scene. Root mean square and largest
difference, in standard deviations of the restored pixel, of a method without them in those of the noise at the mean signal; ``inner``
leaves out 12 pixels along each side. What the restoration errs by at all, in the same unit, stands first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

import imaging
from imaging.restoration import RestoreOptions
from imaging.sensors import Noise, SensorProfile
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, crossed
from scripts.command import SAMPLE

OPTIONS: dict[str, dict[str, object]] = {
    "--sample": {}, "--sensor": {}, "--iterations": {}, "--methods": {"default": ["amortised", "vble-xz", "tv", "wcrr"]},
    "--reference": {"type": Path, "default": SAMPLE.with_name("pleiades_like_pan_reference.tif")},
    "--corner": {"type": int, "nargs": 2, "default": (100, 100)}, "--size": {"type": int, "nargs": 2, "default": (80, 72)},
}  # fmt: skip
Values = NDArray[np.float64]
EDGE = 12


def same(x: Values) -> Values:
    """Nothing is changed."""
    return x


@dataclass(frozen=True)
class Change:
    """Something done to a scene: to where its pixels lie, and to its values by ``factor x + shift``."""

    name: str
    place: Callable[[Values], Values] = same
    back: Callable[[Values], Values] = same
    factor: float = 1.0
    shift: float = 0.0


CHANGES = [
    Change("turned over, left to right", lambda x: x[..., ::-1], lambda x: x[..., ::-1]),
    Change("turned over, top to bottom", lambda x: x[..., ::-1, :], lambda x: x[..., ::-1, :]),
    Change("turned by 180 degrees", lambda x: x[..., ::-1, ::-1], lambda x: x[..., ::-1, ::-1]),
    Change("transposed", lambda x: x.swapaxes(-1, -2), lambda x: x.swapaxes(-1, -2)),
    Change("zero signal stored as 1000", shift=1000.0),
    *(Change(f"values and noise times {k:g}", factor=k) for k in (2.0, 0.5, 1e-2, 1e-6)),
]


def changed(profile: SensorProfile, change: Change) -> SensorProfile:
    """The sensor that measures what is changed."""

    def noise(given: Noise) -> Noise:
        return replace(given, sigma0=change.factor * given.sigma0, gain=change.factor * given.gain, offset=given.offset + change.shift)

    return replace(profile, bands=tuple(replace(b, noise=noise(b.noise)) for b in profile.bands if b.noise))


def compared(found: Values, wanted: Values, unit: Values) -> Record:
    """Differences in a unit."""
    gap = np.abs(found - wanted) / unit
    rms, inner = (float(np.sqrt(np.square(g).mean())) for g in (gap, gap[..., EDGE:-EDGE, EDGE:-EDGE]))
    return {"rms": rms, "largest": float(gap.max()), "inner": inner}


def run(a: argparse.Namespace, results: Results) -> None:
    """All methods and changes."""
    (row, column), (height, width) = a.corner, a.size
    window = ((row, row + height), (column, column + width))
    scene, truth = (rasterio.open(path).read(window=window).astype(np.float32) for path in (a.sample, a.reference))
    loaded = imaging.load_profile(a.sensor)
    profile = replace(loaded, bands=loaded.match((None,) * len(scene)))
    noise = np.array([np.sqrt(b.noise.variance(v.mean())) for b, v in zip(profile.bands, scene, strict=True) if b.noise])
    flat = np.broadcast_to(scene.mean((1, 2), keepdims=True), scene.shape)

    def restored(values: Values, sensor: SensorProfile, method: str) -> imaging.Restored:
        return imaging.restore(values.astype(np.float32), sensor, options=RestoreOptions(method=method, iterations=a.iterations))

    def undone(change: Change, method: str) -> Values:
        found = restored(change.factor * change.place(scene) + change.shift, changed(profile, change), method)
        return (change.back(found.restored) - change.shift) / change.factor

    def all_of(method: str) -> None:
        plain = restored(scene, profile, method)
        unit = np.where(np.isfinite(plain.std), plain.std, noise[:, None, None])

        def once(what: str, found: Callable[[], Values], wanted: Values) -> None:
            results.once({"method": method, "change": what}, lambda: compared(found(), wanted, unit))

        once("none: the error itself", lambda: plain.restored, truth)
        once("a constant scene, against itself", lambda: restored(flat, profile, method).restored, flat)
        for change in CHANGES:
            once(change.name, partial(undone, change, method), plain.restored)

    for method in a.methods:
        all_of(method)


def tables(records: Records) -> dict[str, str]:
    """Of each change and method."""
    return {"all": crossed(records, "change", "method", "what is changed", ("rms", ".2g"))}
