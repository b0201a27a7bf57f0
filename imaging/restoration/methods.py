"""The table of methods: what a scene can be restored with, and what planning asks of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.amortised import (
    DEFAULT_ORIENTATIONS,
    AmortisedReconstructor,
    find_network,
    list_networks,
    load_limits,
    load_network,
)
from imaging.bilevel import (
    FieldOfExperts,
    LearnedRegularizer,
    RegularizedReconstructor,
    Regularizer,
    RidgeRegularizer,
    TotalVariation,
    list_regularizers,
    load_regularizer,
)
from imaging.errors import InputError
from imaging.names import AMORTISED, POSTERIORS
from imaging.posterior import VBLE, FitSettings, lattice_room, rate_scale, sensor_deviation
from imaging.priors import LatentPrior, list_priors, load_prior, zoo
from imaging.raster.tiles import STEP
from imaging.releases import ModelInfo
from imaging.restoration.amortised import AmortisedMethod
from imaging.restoration.method import Method, Progress, Window
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


class PosteriorMethod(Method):
    """A variational posterior of a latent prior, on the prior's device.

    Fits start from Wiener filters, or from the image of the pass of one band that is given.
    """

    def __init__(
        self, prior: LatentPrior, settings: FitSettings, name: str = "", digest: str = "", start: AmortisedReconstructor | None = None
    ) -> None:  # fmt: skip
        self.prior, self.settings, self.name, self.digest, self.start = prior, settings, name, digest, start
        self.kind, self.steps = settings.method, settings.iterations
        self.channels, self.bands, self.border, self.stride = prior.channels, tuple(prior.bands), prior.border, prior.stride
        self.lattice, self.step, self.room = prior.hyper_stride, max(STEP, prior.hyper_stride), lattice_room(prior)
        self.vble, self.passes = VBLE(prior, settings), settings.iterations * settings.lattices

    @property
    def device(self) -> torch.device:
        """That of the prior."""
        return next(self.prior.parameters()).device

    def halo(self, radius: int, scale: int) -> int:
        """Twice the reach of a latent and the PSF."""
        return 2 * (self.prior.receptive_field(max(256, 8 * self.prior.hyper_stride)) + radius)

    def rate(self, physics: SensorPhysics, level: float, high: float) -> float:
        """As asked for, or what the measurement can tell."""
        s = self.settings
        if s.rate_scale is not None:
            return s.rate_scale
        return rate_scale(self.prior, sensor_deviation(physics, level, self.channels), high, s.rate_ratio)

    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """Posterior mean, standard deviation and samples."""
        w = window
        first = None if self.start is None else self.start.each_band(w.y, physics, mask=w.mask, level=w.level)
        posterior = self.vble.fit_mixture(
            w.y, physics, mask=w.mask, rate_scale=w.rate_scale, level=w.level, origins=w.origins, border=0, seed=w.seed, progress=progress,
            x_init=first, compensated=first is not None,
        )  # fmt: skip
        moments = posterior.moments(self.settings.samples)
        samples = {f"sample_{k:03d}": posterior.sample(1, first=k)[0] for k in range(w.samples)}
        return {"restored": moments.mean, "std": moments.std} | samples

    def record(self) -> dict[str, Any]:
        """Of the prior."""
        if not self.settings.calibrated:
            return {"calibration": "none"}
        guarantee = self.prior.guarantee
        return {"calibration": self.prior.calibration} | ({} if guarantee is None else {"half_widths": guarantee.half_widths})


class RegularizedMethod(Method):
    """The minimiser of a likelihood and a learned regulariser: a point, each band by itself, by so many gradients.

    ``weight`` is a factor on the regulariser's weight, which follows from the noise; by default the regulariser's own for sensors.
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


def check_kind(name: str, wanted: str) -> None:
    """Refuse a released model of another kind, with the method that it is for; folders are looked at when they are loaded."""
    if Path(name).is_dir():
        return
    for kind, models in (("a prior", list_priors), ("a learned regulariser", list_regularizers), ("an inference network", list_networks)):
        if kind.endswith(wanted) or name not in {m.name for m in models()}:
            continue
        method = {"a prior": POSTERIORS[0], "an inference network": AMORTISED}.get(kind) or method_of(load_regularizer(name))
        raise InputError(f"{name} is {kind} and no {wanted}; choose --method {method} with it, or leave --prior away")


def find_regularizer(method: str, name: str) -> LearnedRegularizer:
    """A regulariser of the zoo, or of a folder, for a method; `InputError` when there is none, or it is of another kind or method."""
    check_kind(name, "learned regulariser")
    learned = load_regularizer(name)
    if not _SUITED[method](learned.regularizer):
        raise InputError(f"{name} is no regulariser for --method {method}; choose --method {method_of(learned)}, or another --prior")
    return learned


def find_pass(name: str) -> ModelInfo:
    """An inference network of the zoo, or of a folder; `InputError` when there is none, or it is of another kind."""
    check_kind(name, "inference network")
    return find_network(name)


def find_prior(name: str, *, download: bool = False) -> ModelInfo:
    """A prior as `imaging.priors.zoo.find_prior` finds it; `InputError` when there is none, or it is of another kind."""
    check_kind(name, "prior")
    return zoo.find_prior(name, download=download)


def make_pass(name: str, device: torch.device, orientations: int | None = None) -> AmortisedMethod:
    """Load a pass; `InputError` for an unknown network."""
    info = find_pass(name)
    model = AmortisedReconstructor(load_network(name, device), orientations=orientations or DEFAULT_ORIENTATIONS)
    return AmortisedMethod(model, info.name, info.digest, load_limits(info.folder))


def make_point(method: str, name: str, device: torch.device, weight: float | None, steps: int | None) -> RegularizedMethod:
    """Load a minimiser, weight and steps its own where they are None; `InputError` for an unknown regulariser, or one of another method."""
    return RegularizedMethod(find_regularizer(method, name), device, weight, steps or GRADIENTS)


def make_fit(
    name: str, device: torch.device, settings: FitSettings, *, download: bool = False, start: AmortisedReconstructor | None = None
) -> PosteriorMethod:  # fmt: skip
    """Load a fit; `InputError` for an unknown prior, or one that is to be fetched and ``download`` does not allow it."""
    info = find_prior(name, download=download)
    return PosteriorMethod(load_prior(name, device, download=download), settings, info.name, info.digest, start)
