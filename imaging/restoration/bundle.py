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
from imaging.fusion import (
    BandStatistics,
    BundleArea,
    CrossBandGaussian,
    Drift,
    FoundShift,
    find_drift,
    find_shift,
    matched,
    scene_statistics,
    search_shift,
)
from imaging.names import AUTO, NONE
from imaging.raster import filled
from imaging.restoration.fitting import Sample, scene_bands
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.radiometry import Radiometry, check_signal, stored_range
from imaging.sensors import ANY_BAND, Band, SensorPhysics, SensorProfile, sensor_physics

_UNEXPLAINED = 0.5
"""Share of the panchromatic band's structure, as the coarse bands would have seen it, that they may leave unexplained."""
_DOUBTED = 0.3
"""Share of the told noise that must be taken off for it to be believed without a word."""
_SEVERAL = 4
"""Areas from which on their scatter tells the error of a shift."""
_FAR = 2
"""Coarse pixels by which the grids may be off."""


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
    nothing = Drift((bundle.shift[0], 0.0, 0.0), (bundle.shift[1], 0.0, 0.0))
    bare = Stack((bands[0], bands[1]), radiometry, (limits[0], limits[1]), ratio, nothing, _UNKNOWN, device)  # type: ignore[arg-type]
    areas = [bare.tensors(p) for p in pieces]
    drift, shifts = _drift(bare, areas, bundle, options)
    if shifts:
        _check_match(shifts, title)
        notes.append(_said_of(drift, bundle.shift, shifts))
    moved = replace(bare, drift=drift, shift_error=_error_of(shifts) if shifts and options.pan_shift == AUTO else None)
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


def _drift(stack: Stack, areas: list[BundleArea], bundle: KnownBundle, options: FuseOptions) -> tuple[Drift, list[_Placed]]:
    """The shift all over the scene, and those of the areas that it was found from, against what the files say.

    `InputError` for a shift too large to be one.
    """
    if not isinstance(options.pan_shift, str):
        right, down = (a + b for a, b in zip(bundle.shift, options.pan_shift, strict=True))
        return Drift((right, 0.0, 0.0), (down, 0.0, 0.0)), []
    if len(stack.bands[0]) > 1:
        return stack.drift, []  # bands of one product, on one grid
    sensors, places, ratio = _sensors(stack, bundle.shift), bundle.places(), stack.ratio

    def all_of(start: tuple[float, float]) -> list[_Placed]:
        shifts = (find_shift(a.sharp, a.coarse, sensors, a.valid(ratio), start) for a in areas)
        return [(place, s) for place, s in zip(places, shifts, strict=True) if s is not None]

    found = all_of((0.0, 0.0))
    if found and not _plausible(found, ratio) and options.pan_shift != NONE:
        largest = sorted(areas, key=lambda a: -float(a.valid(ratio).sum()))[:_SEARCHED]
        guesses = [g for a in largest if (g := search_shift(a.sharp, a.coarse, sensors, a.valid(ratio), (_FAR + 1) * ratio)) is not None]
        if guesses:
            found = all_of((float(np.median([g[0] for g in guesses])), float(np.median([g[1] for g in guesses])))) or found
        far = max(abs(v) for v in _median(found))
        if far > _FAR * ratio and float(np.median([s.residual for _, s in found])) < _UNEXPLAINED:
            raise InputError(
                f"the panchromatic band lies {far / ratio:.1f} multispectral pixels off; up to {_FAR} are taken, give --pan-shift DX,DY "
                "in panchromatic pixels or register the two first"
            )
    if options.pan_shift == NONE or not found:
        return stack.drift, found
    return find_drift(found, bundle.shift), found


_Placed = tuple[tuple[float, float], FoundShift]
_SEARCHED = 4
"""Areas in which a large shift is looked for."""


def _plausible(found: list[_Placed], ratio: int) -> bool:
    """Whether shifts found without a search are near the truth."""
    return float(np.median([s.residual for _, s in found])) < 0.1 and max(abs(v) for v in _median(found)) < ratio / 2


def _median(found: list[_Placed]) -> tuple[float, float]:
    return float(np.median([s.right for _, s in found])), float(np.median([s.down for _, s in found]))


def _check_match(found: list[_Placed], title: str) -> None:
    """Refuse what does not hang together."""
    residual = float(np.median([s.residual for _, s in found]))
    if residual > _UNEXPLAINED:
        raise InputError(
            f"the panchromatic band does not match {title}: they leave {residual:.0%} of its structure unexplained; are both of one place "
            "and one date, and no clouds between?"
        )


def _error_of(found: list[_Placed]) -> float:
    """Standard error of a shift: by those of its areas, or by how much these differ where that is more; panchromatic pixels."""
    told = max(float(np.median([s.right_error for _, s in found])), float(np.median([s.down_error for _, s in found])))
    values = np.array([(s.right, s.down) for _, s in found])
    scatter = float(np.median(np.abs(values - np.median(values, 0)), 0).max()) / 0.6745 if len(found) >= _SEVERAL else 0.0
    return max(told, scatter) / math.sqrt(len(found))


def _said_of(drift: Drift, told: tuple[float, float], found: list[_Placed]) -> str:
    """What the user should know of the shift."""
    right, down = (a - b for a, b in zip(drift.middle, told, strict=True))
    error = _error_of(found)
    text = f"shift of the multispectral grid: {right:+.3f} right, {down:+.3f} down, panchromatic pixels, standard error {error:.3f}"
    return text + (f"; it varies by {drift.range:.2f} over the scene" if drift.range else "")


def _weights_note(stack: Stack) -> str:
    known = stack.statistics
    pairs = zip(stack.bands[1], known.weights[0].tolist(), known.errors[0].tolist(), strict=True)
    parts = [f"{b.name} {w:.3f}" + (f" +- {e:.3f}" if e else "") for b, w, e in pairs]
    offset = float(known.offsets[0]) * stack.full_scale
    return (
        f"weights of the panchromatic band: {', '.join(parts)}; offset {offset:.3g}; {float(known.outside[0]):.1%} of its contrast is none "
        "of these bands'"
    )
