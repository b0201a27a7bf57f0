"""The minimisers with learned regularisers, as a method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from imaging.bilevel import (
    FieldOfExperts,
    LearnedRegularizer,
    RegularizedReconstructor,
    Regularizer,
    RidgeRegularizer,
    TotalVariation,
    load_regularizer,
)
from imaging.errors import InputError
from imaging.restoration.method import Method, Progress, Window
from imaging.restoration.methods import check_kind
from imaging.sensors import SensorPhysics

_SUITED: dict[str, Callable[[Regularizer], bool]] = {
    "tv": lambda r: isinstance(r, TotalVariation),
    "foe": lambda r: isinstance(r, FieldOfExperts),
    "crr": lambda r: isinstance(r, RidgeRegularizer) and r.weak_convexity == 0,
    "wcrr": lambda r: isinstance(r, RidgeRegularizer) and r.weak_convexity > 0,
}
"""Methods with a learned regulariser, and which regularisers are theirs."""
GRADIENTS = RegularizedReconstructor.steps
"""Steps of the minimisation of a regularised energy."""

_MINIMISER_REACH = 24


class RegularizedMethod(Method):
    """The minimiser of a likelihood and a learned regulariser: a point, each band by itself, by so many gradients.

    ``weight`` is a factor on the regulariser's weight, which follows from sensor, noise and contrast. Of a weakly convex regulariser behind
    a blur the point is close to a stationary one, not certainly the least.
    """

    border = 8

    def __init__(self, learned: LearnedRegularizer, device: torch.device, weight: float | None = None, steps: int = GRADIENTS) -> None:
        self.name, self.digest, self.passes, self.steps = learned.name, learned.digest, steps, steps
        self.kind = method_of(learned)
        self.reconstructor = RegularizedReconstructor(learned, weight=weight, steps=steps).to(device)

    @property
    def device(self) -> torch.device:
        """That of the parameters."""
        found: torch.device = self.reconstructor.theta.device
        return found

    def halo(self, radius: int, scale: int) -> int:
        """Far enough for the minimisation, and the PSF."""
        return 2 * (_MINIMISER_REACH + radius)

    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """The minimiser."""
        return {"restored": self.reconstructor(window.y, physics, mask=window.mask, level=window.level, progress=progress)}


def method_of(learned: LearnedRegularizer) -> str:
    """The method that a regulariser is for."""
    return next(name for name, suits in _SUITED.items() if suits(learned.regularizer))


def find_regularizer(method: str, name: str) -> LearnedRegularizer:
    """A regulariser of the zoo, or of a folder, for a method; `InputError` when there is none, or it is of another kind or method."""
    check_kind(name, "learned regulariser")
    learned = load_regularizer(name)
    if not _SUITED[method](learned.regularizer):
        raise InputError(f"{name} is no regulariser for --method {method}; choose --method {method_of(learned)}, or another --prior")
    return learned


def make_point(method: str, name: str, device: torch.device, weight: float | None, steps: int | None) -> RegularizedMethod:
    """Load a minimiser, weight and steps its own where they are None; `InputError` for an unknown regulariser, or one of another method."""
    return RegularizedMethod(find_regularizer(method, name), device, weight, steps or GRADIENTS)
