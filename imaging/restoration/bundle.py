"""What is decided about a bundle before its first pixel is fused: sensors, range, weights, shift, and the Gaussian model of the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.fusion import BandStatistics, BundleArea, CrossBandGaussian, Drift, constant_drift, matched, scene_statistics
from imaging.names import AUTO
from imaging.raster import filled
from imaging.restoration.bundle_shift import check_match, error_of, said_of, scene_drift
from imaging.restoration.fitting import Sample, scene_bands
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.radiometry import Radiometry, check_signal, stored_range
from imaging.sensors import ANY_BAND, Band, SensorPhysics, SensorProfile, sensor_physics

_DOUBTED = 0.3
"""Share of the told noise that must be taken off for it to be believed without a word."""


class Pieces(NamedTuple):
    """Stored values and validity of one place, sharp ``(K, r h, r w)`` and coarse ``(M, h, w)``."""

    sharp: NDArray[np.float32]
    sharp_valid: NDArray[np.bool_]
    coarse: NDArray[np.float32]
    coarse_valid: NDArray[np.bool_]


class KnownBundle(Protocol):
    """What is known of a sharp and a coarse scene of one place, stored in files or arrays.

    The coarse grid begins a fraction of a coarse pixel after the sharp one's lattice: ``shift`` sharp pixels to the right and down, between
    minus and plus half the ratio.
    """

    @property
    def ratio(self) -> int:
        """Sharp pixels to a coarse one along each side."""

    @property
    def shift(self) -> tuple[float, float]:
        """See above."""

    @property
    def dtypes(self) -> tuple[np.dtype[Any], np.dtype[Any]]:
        """Stored types of the sharp and the coarse scene."""

    @property
    def descriptions(self) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
        """What the bands of both are called."""

    def pieces(self) -> list[Pieces]:
        """Some places with valid pixels of both, spread over the scene, with the coarse row and column of each one's middle."""

    def places(self) -> list[tuple[float, float]]:
        """Middle of each of the `pieces`, sharp rows and columns."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A sharp and a coarse sensor that see one scene, as they are fused.

    ``bands`` are the sharp and the coarse ones, each with a noise model and the MTF that the fused scene is to have; the radiometries are
    those of both, with one full scale. ``limits`` are the stored values from which on a pixel is saturated. ``drift`` is the shift of the
    coarse grid at any place of the scene, that of the files included. ``position`` is the scene's mean contrast, see
    `CrossBandGaussian.position`, and ``brightest`` the signal that few pixels of the coarse bands exceed, image units. ``shift_error`` is
    the standard error of a drift that was found, sharp pixels.
    """

    bands: tuple[tuple[Band, ...], tuple[Band, ...]]
    radiometry: tuple[Radiometry, Radiometry]
    limits: tuple[float, float]
    ratio: int
    drift: Drift
    statistics: BandStatistics
    device: torch.device
    position: float = 0.0
    brightest: float = 1.0
    shift_error: float | None = None

    @property
    def full_scale(self) -> float:
        """DN of 1."""
        return self.radiometry[0].full_scale

    def model_at(self, row: float, column: float) -> CrossBandGaussian:
        """The Gaussian model around a place, sharp rows and columns."""
        return _model(self, self.drift.at(row, column))

    def tensors(self, pieces: Pieces) -> BundleArea:
        """Stored values as methods take them, batches of one: image units, saturated pixels among the invalid ones."""
        return self.batch([pieces])

    def batch(self, pieces: Sequence[Pieces]) -> BundleArea:
        """Several places of one size."""
        made = []
        for k, (name, check) in enumerate((("sharp", "sharp_valid"), ("coarse", "coarse_valid"))):
            values, valid = (np.stack([getattr(p, n) for p in pieces]) for n in (name, check))
            known = np.stack([filled(v, m) for v, m in zip(values, valid, strict=True)])
            mask = valid & (values < self.limits[k])
            made += [torch.from_numpy(self.radiometry[k].to_image(known)), torch.from_numpy(mask.astype(np.float32))]
        sharp, sharp_mask, coarse, coarse_mask = (t.to(self.device) for t in made)
        return BundleArea(sharp, coarse, sharp_mask, coarse_mask)


@lru_cache(maxsize=4)
def _model(stack: Stack, shift: tuple[float, float]) -> CrossBandGaussian:
    known = stack.statistics
    return CrossBandGaussian(*_sensors(stack, shift), known.covariance.to(stack.device), known.means.to(stack.device))


def bundle_bands(
    profile: SensorProfile, sharp: tuple[str | None, ...], coarse: tuple[str | None, ...]
) -> tuple[tuple[Band, ...], tuple[Band, ...]]:  # fmt: skip
    """The bands of a profile for the sharp and the coarse scene: those of the finest ground sample distance, and the coarser ones.

    `InputError` where the profile has bands of one distance only, or others than the scenes.
    """
    if [b.name for b in profile.bands] == [ANY_BAND]:
        return profile.bands * len(sharp), profile.bands * len(coarse)
    finest = min(b.gsd for b in profile.bands)
    fine = tuple(b for b in profile.bands if b.gsd < 1.01 * finest)
    low = tuple(b for b in profile.bands if b not in fine)
    if not low or len(fine) < len(sharp):
        raise InputError(
            f"sensor {profile.name} has bands of one ground sample distance ({', '.join(b.name for b in profile.bands)}); of a bundle the "
            "panchromatic one comes with a finer gsd than the others"
        )
    return replace(profile, bands=fine).match(sharp), replace(profile, bands=low).match(coarse)


def make_stack(
    bundle: KnownBundle, profile: SensorProfile, options: FuseOptions, device: torch.device, title: str = "the multispectral bands"
) -> tuple[Stack, list[str]]:  # fmt: skip
    """Decide everything about a bundle but how it is fused; with notes for the user.

    `InputError` when profile and scenes do not fit, or do not show one place at one time.
    """
    pieces = bundle.pieces()
    samples: tuple[Sample, Sample] = [(p.sharp, p.sharp_valid) for p in pieces], [(p.coarse, p.coarse_valid) for p in pieces]
    names, types = bundle.descriptions, bundle.dtypes
    if types[0] != types[1]:
        raise InputError(f"the panchromatic band is {types[0]}, {title} are {types[1]}; the bands of a bundle have one type and unit")
    found = bundle_bands(profile, *names)
    notes, bands, scales, limits = list[str](), [], [], []
    for own, described, sample, dtype in zip(found, names, samples, types, strict=True):
        largest = max(float(v[m].max()) for v, m in sample if m.any())
        part, full_scale, remarks = stored_range(replace(profile, bands=own), dtype, largest, options.noise)
        known = scene_bands(part, described, sample, options.noise)
        notes += [n for n in remarks + check_signal(known, sample) if n not in notes]
        estimated = [(b.name, b.noise) for b in known if b.noise and b.noise.source.startswith("estimated")]
        notes += [f"noise of band {name} estimated: sigma0 {n.sigma0:.3g}, gain {n.gain:.3g}" for name, n in estimated]
        bands.append(known)
        scales.append(full_scale)
        limits.append(_saturation(dtype, part.full_scale, largest))
    ratio = bundle.ratio
    wished = round(found[1][0].gsd / found[0][0].gsd)
    if wished not in {1, ratio}:
        notes.append(f"sensor {profile.name} has bands {wished} times as coarse, the files {ratio} times: does the sensor fit the scene?")
    bands[1] = tuple(replace(b, mtf=matched(b.mtf, bands[0][0].mtf, ratio)) for b in bands[1])
    radiometry = tuple(Radiometry(np.array([b.noise.offset if b.noise else 0.0 for b in some]), max(scales)) for some in bands)
    bare = Stack((bands[0], bands[1]), radiometry, (limits[0], limits[1]), ratio, constant_drift(*bundle.shift), _UNKNOWN, device)  # type: ignore[arg-type]
    areas = [bare.tensors(p) for p in pieces]
    drift, shifts = scene_drift(areas, bundle.places(), _sensors(bare, bundle.shift), bundle.shift, options.pan_shift)
    if shifts:
        check_match(shifts, title)
        notes.append(said_of(drift, bundle.shift, shifts))
    moved = replace(bare, drift=drift, shift_error=error_of(shifts) if shifts and options.pan_shift == AUTO else None)
    try:
        known_bands = scene_statistics(areas, *_sensors(moved, drift.middle))
    except ValueError as error:
        raise InputError(f"the panchromatic band and {title} have hardly a valid pixel in common; are they of one place?") from error
    if options.pan_weights is not None and len(bands[0]) > 1:
        raise InputError(f"weights are those of one panchromatic band, here {len(bands[0])} bands are sharp; leave --pan-weights away")
    if options.pan_weights is not None:
        if len(options.pan_weights) != len(bands[1]):
            raise InputError(f"{len(options.pan_weights)} weights of the panchromatic band for {len(bands[1])} bands; give one for each")
        known_bands = known_bands.with_weights(torch.tensor([options.pan_weights]))
    if known_bands.believed < _DOUBTED:
        notes.append(f"the noise of {title} seems overestimated: neighbours differ by {2 * known_bands.believed:.0%} of its variance")
    stack = replace(moved, statistics=known_bands)
    model = stack.model_at(*drift.middle_place)
    weights = torch.tensor([float(a.sharp_mask.sum()) for a in areas])
    places = torch.tensor([float((model.position(a.sharp) * a.sharp_mask).sum() / a.sharp_mask.sum().clamp(min=1)) for a in areas])
    bright = float(torch.cat([a.coarse[a.coarse_mask > 0] for a in areas]).cpu().quantile(0.99)) if areas else 1.0
    stack = replace(stack, position=float((weights * places).sum() / weights.sum().clamp(min=1)), brightest=max(bright, 1e-3))
    if len(bands[0]) == 1:
        notes.append(_weights_note(stack))
    return stack, notes


_NONE = torch.zeros(0)
_UNKNOWN = BandStatistics(_NONE, _NONE, _NONE, _NONE, _NONE, 0)
"""Of a stack whose statistics are still to be found."""


def _sensors(stack: Stack, shift: tuple[float, float]) -> tuple[SensorPhysics, SensorPhysics]:
    """Both sensors, on the stack's device, at a shift of the grids."""
    fine, low = stack.bands
    return (
        sensor_physics(fine, stack.full_scale).to(stack.device),
        sensor_physics(low, stack.full_scale, None, stack.ratio, shift).to(stack.device),
    )


def _saturation(dtype: np.dtype[Any], full_scale: float, largest: float) -> float:
    """Stored value from which on pixels are saturated: the end of the sensor's range, or of the stored type."""
    if dtype.kind == "f":
        return math.inf
    return full_scale if largest <= full_scale else float(np.iinfo(dtype).max)


def _weights_note(stack: Stack) -> str:
    known = stack.statistics
    pairs = zip(stack.bands[1], known.weights[0].tolist(), known.errors[0].tolist(), strict=True)
    parts = [f"{b.name} {w:.3f}" + (f" +- {e:.3f}" if e else "") for b, w, e in pairs]
    offset = float(known.offsets[0]) * stack.full_scale
    return (
        f"weights of the panchromatic band: {', '.join(parts)}; offset {offset:.3g}; {float(known.outside[0]):.1%} of its contrast is none "
        "of these bands'"
    )
