"""How far the coarse bands lie from where their grid says: the shift that explains them best by the sharp ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.fusion.covariance import blurred, huber
from imaging.sensors.physics import SensorPhysics

_STEPS = 6
_BORDER = 4
"""Coarse pixels at the edge that do not count: what lies beyond is unknown."""
_LEAST = 64
"""Coarse pixels from which a shift is found, at least."""


class FoundShift(NamedTuple):
    """A shift of the coarse grid to the right and down, sharp pixels, with its standard errors.

    ``residual`` is the share of the sharp bands' variance, as coarse ones would have seen it, that the coarse bands do not explain.
    """

    right: float
    down: float
    right_error: float
    down_error: float
    residual: float


def _fine(sharp: Tensor, fine: SensorPhysics, coarse: SensorPhysics) -> tuple[Tensor, Tensor, Tensor]:
    """The mean sharp band ``(B, H, W)`` with the coarse bands' sharpness, and its slopes to the right and down."""
    size = (sharp.shape[-2], sharp.shape[-1])
    seen, level = (x.mean(1) for x in blurred(sharp, fine, coarse))
    rows, columns = torch.fft.fftfreq(size[0]).to(seen.real), torch.fft.rfftfreq(size[1]).to(seen.real)
    slopes = [torch.fft.irfft2(seen * 2j * torch.pi * f, s=size) for f in (columns[None], rows[:, None])]
    return torch.fft.irfft2(seen, s=size) + level, slopes[0], slopes[1]


class _Regression:
    """The sharp band of one area, as sharp as the coarse ones, against these; ``room`` coarse pixels of the border are left out."""

    def __init__(
        self, sharp: Tensor, coarse: Tensor, fine: SensorPhysics, low: SensorPhysics, valid: Tensor, room: int
    ) -> None:  # fmt: skip
        self.ratio = low.factor
        self.images = _fine(sharp, fine, low)
        self.inner = (slice(None), slice(room, coarse.shape[-2] - room), slice(room, coarse.shape[-1] - room))
        self.good = (valid[:, 0] > 0)[self.inner]
        bands = coarse.movedim(1, -1)[self.inner][self.good].double()
        self.bands = torch.cat([bands - bands.mean(0), torch.ones_like(bands[:, :1])], 1)

    @property
    def possible(self) -> bool:
        """Whether there are enough valid pixels."""
        return len(self.bands) >= _LEAST

    def sampled(self, x: Tensor, right: int, down: int) -> Tensor:
        """An image on the coarse grid, moved by whole pixels; its valid values."""
        return x.roll((-down, -right), (-2, -1))[:, :: self.ratio, :: self.ratio][self.inner][self.good].double()


Sides = tuple[SensorPhysics, SensorPhysics]


def search_shift(sharp: Tensor, coarse: Tensor, sensors: Sides, valid: Tensor, reach: int) -> tuple[int, int] | None:
    """The best shift in whole sharp pixels to the right and down, at most ``reach`` to either side; arguments as of `find_shift`."""
    task = _Regression(sharp, coarse, *sensors, valid, _BORDER + -(-reach // sensors[1].factor))
    if not task.possible:
        return None
    basis = torch.linalg.qr(task.bands).Q
    best, least = None, float("inf")
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            wanted = task.sampled(task.images[0], right, down)
            share = 1 - float((basis.mT @ wanted).square().sum() / wanted.square().sum().clamp(min=1e-20))
            share *= float(wanted.square().sum() / (wanted - wanted.mean()).square().sum().clamp(min=1e-20))
            if share < least:
                best, least = (right, down), share
    return best


def find_shift(
    sharp: Tensor, coarse: Tensor, sensors: Sides, valid: Tensor, start: tuple[float, float] = (0.0, 0.0)
) -> FoundShift | None:  # fmt: skip
    """The residual shift of one area, by a robust regression of the sharp band on the coarse ones and its own slopes.

    Parameters
    ----------
    sharp, coarse : Tensor
        ``(1, K, r H, r W)`` and ``(1, M, H, W)``, anything finite where they are invalid.
    sensors : (SensorPhysics, SensorPhysics)
        Of both, with the shift that is known.
    valid : Tensor
        ``(1, 1, H, W)``, one where all bands are valid over the reach of the coarse kernel.
    start : (float, float)
        First guess, within some sharp pixels of the truth; see `search_shift`.

    Returns
    -------
    FoundShift or None
        None where there are too few valid pixels, or no structure.
    """
    far = max(abs(v) for v in start)
    task = _Regression(sharp, coarse, *sensors, valid, _BORDER + math.ceil(far / sensors[1].factor))
    if not task.possible:
        return None
    right, down = start
    total = float(task.sampled(task.images[0], round(right), round(down)).var().clamp(min=1e-20))
    error, spread = (float("nan"), float("nan")), total
    for _ in range(_STEPS):
        whole = round(right), round(down)
        image, *slopes = (task.sampled(x, *whole) for x in task.images)
        wanted = image + (right - whole[0]) * slopes[0] + (down - whole[1]) * slopes[1]
        solution, covariance, spread = huber(torch.cat([task.bands, -torch.stack(slopes, 1)], 1), wanted)
        step = solution[-2:]
        if not bool(torch.isfinite(step).all()):
            return None
        right, down = right + float(step[0].clamp(-1, 1)), down + float(step[1].clamp(-1, 1))
        error = (float(covariance[-2, -2].sqrt()), float(covariance[-1, -1].sqrt()))
        if float(step.abs().max()) < 1e-3:
            break
    return FoundShift(right, down, *error, spread / total)


class Drift(NamedTuple):
    """Shift of a coarse grid over a scene: at a sharp row and column ``v[0] + v[1] row + v[2] column``, sharp pixels.

    ``range`` is how much it varies; 0 for one that is the same everywhere.
    """

    right: tuple[float, float, float]
    down: tuple[float, float, float]
    middle_place: tuple[float, float] = (0.0, 0.0)
    range: float = 0.0

    def at(self, row: float, column: float) -> tuple[float, float]:
        """To the right and down at a place, rounded to a thousandth of a pixel."""
        right, down = (round(v[0] + v[1] * row + v[2] * column, 3) for v in (self.right, self.down))
        return right, down

    @property
    def middle(self) -> tuple[float, float]:
        """In the middle of the areas that it was found from."""
        return self.at(*self.middle_place)


def constant_drift(right: float, down: float) -> Drift:
    """A shift that is the same everywhere."""
    return Drift((right, 0.0, 0.0), (down, 0.0, 0.0))


_VARIES = 0.15
"""Sharp pixels by which a shift must vary over a scene to be taken as one that does."""
_SURE = 5.0
"""Standard errors that this must be, too."""


def find_drift(found: list[tuple[tuple[float, float], FoundShift]], told: tuple[float, float]) -> Drift:
    """The shift of a scene from those of some areas at sharp rows and columns, each against what was ``told``; a plane where it varies."""
    places = torch.tensor([p for p, _ in found], dtype=torch.float64)
    middle = places.mean(0)
    span = (places.amax(0) - places.amin(0)).clamp(min=1.0)
    design = torch.cat([torch.ones(len(found), 1, dtype=torch.float64), (places - middle) / span], 1)
    planes, ranges = [], []
    for name, start in zip(("right", "down"), told, strict=True):
        values = torch.tensor([getattr(s, name) for _, s in found], dtype=torch.float64)
        errors = torch.tensor([getattr(s, f"{name}_error") for _, s in found], dtype=torch.float64).clamp(min=2e-3)
        weight = 1 / errors
        median = values.median()
        weight = weight * (3 * (errors + 0.05) / (values - median).abs().clamp(min=1e-9)).clamp(max=1)
        flat = float((weight.square() * values).sum() / weight.square().sum())
        plane = torch.tensor([flat + start, 0.0, 0.0], dtype=torch.float64)
        change = 0.0
        if len(found) >= 6:
            solution, covariance, _ = huber(design, values)
            slopes, sure = solution[1:].abs(), solution[1:].abs() / covariance.diagonal()[1:].sqrt().clamp(min=1e-9)
            change = float(slopes.max()) if bool(((slopes > _VARIES) & (sure > _SURE)).any()) else 0.0
            if change:
                steps = solution[1:] / span
                plane = torch.cat([(solution[0] + start - steps @ middle).reshape(1), steps])
        planes.append((float(plane[0]), float(plane[1]), float(plane[2])))
        ranges.append(change)
    return Drift(planes[0], planes[1], (float(middle[0]), float(middle[1])), max(ranges))
