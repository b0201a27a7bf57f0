"""What a restoration commutes with: a scene that is changed and restored, against the restored scene that is changed.

    python scripts/benchmark_equivariance.py [--scene data/pleiades_like_pan.tif] [--sensor pleiades-raw] [--methods amortised vble-xz ...]
        [--reference data/pleiades_like_pan_reference.tif] [--corner ROW COLUMN] [--size HEIGHT WIDTH] [--iterations N] [--output table.md]

The sensor's noise goes with the values; its MTF must be the same along both axes for the transposed scene. Root mean square and largest
difference, in standard deviations of the restored pixel, of a method without them in those of the noise at the mean signal; the last
column leaves out 12 pixels along each side. What the restoration errs by at all, in the same unit, stands first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

import imaging
from imaging.restoration import RestoreOptions
from imaging.sensors import Noise, SensorProfile

Values = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "data"
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


def compared(found: Values, wanted: Values, unit: Values) -> str:
    """Cells of the table."""
    gap = np.abs(found - wanted) / unit
    inner = gap[..., EDGE:-EDGE, EDGE:-EDGE]
    return " | ".join(f"{v:.2g}" for v in (np.sqrt(np.square(gap).mean()), gap.max(), np.sqrt(np.square(inner).mean())))


def main() -> None:
    """Restore, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, default=DATA / "pleiades_like_pan.tif")
    parser.add_argument("--reference", type=Path, default=DATA / "pleiades_like_pan_reference.tif")
    parser.add_argument("--sensor", default="pleiades-raw")
    parser.add_argument("--methods", nargs="+", default=["amortised", "vble-xz", "tv", "wcrr"])
    parser.add_argument("--corner", type=int, nargs=2, default=(100, 100))
    parser.add_argument("--size", type=int, nargs=2, default=(80, 72))
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--output", type=Path, help="table")
    a = parser.parse_args()
    (row, column), (height, width) = a.corner, a.size
    window = ((row, row + height), (column, column + width))
    scene, truth = (rasterio.open(path).read(window=window).astype(np.float32) for path in (a.scene, a.reference))
    loaded = imaging.load_profile(a.sensor)
    profile = replace(loaded, bands=loaded.match((None,) * len(scene)))
    lines = ["| method | what is changed | root mean square | largest | away from the sides |", "|---|---|---|---|---|"]

    def restored(values: Values, sensor: SensorProfile, method: str) -> imaging.Restored:
        return imaging.restore(values.astype(np.float32), sensor, options=RestoreOptions(method=method, iterations=a.iterations))

    for method in a.methods:
        plain = restored(scene, profile, method)
        noise = np.array([np.sqrt(b.noise.variance(v.mean())) for b, v in zip(profile.bands, scene, strict=True) if b.noise])
        unit = np.where(np.isfinite(plain.std), plain.std, noise[:, None, None])
        lines.append(f"| {method} | nothing: the error itself | {compared(plain.restored, truth, unit)} |")
        flat = np.broadcast_to(scene.mean((1, 2), keepdims=True), scene.shape)
        lines.append(f"| {method} | a constant scene, against itself | {compared(restored(flat, profile, method).restored, flat, unit)} |")
        print(*lines[-2:], sep="\n", flush=True)
        for change in CHANGES:
            found = restored(change.factor * change.place(scene) + change.shift, changed(profile, change), method)
            back = (change.back(found.restored) - change.shift) / change.factor
            lines.append(f"| {method} | {change.name} | {compared(back, plain.restored, unit)} |")
            print(lines[-1], flush=True)
    if a.output:
        a.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
