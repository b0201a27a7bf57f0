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
    NetworkInfo,
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
from imaging.errors import InputError, did_you_mean
from imaging.names import AMORTISED, METHODS, POSTERIORS, REGULARIZERS
from imaging.posterior import VBLE, FitSettings, lattice_room, rate_scale, sensor_deviation
from imaging.priors import LatentPrior, PriorInfo, list_priors, load_prior, zoo
from imaging.raster.tiles import STEP
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
    """A variational posterior of a latent prior.

    Parameters
    ----------
    prior : LatentPrior
        On its device.
    settings : FitSettings
        Of the fit.
    name, digest : str
        Of the prior.
    start : AmortisedReconstructor, optional
        Of one band; its image is what the fit starts from, in place of Wiener filters.
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
            w.y, physics, mask=w.mask, rate_scale=w.scale, level=w.level, origins=w.origins, border=0, seed=w.seed, progress=progress,
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
    """The minimiser of a likelihood and a learned regulariser: a point, each band by itself.

    Parameters
    ----------
    learned : LearnedRegularizer
        Energy and parameters.
    device : torch.device
        Where to compute.
    weight : float, optional
        Factor on the regulariser's weight, which follows from the noise; by default the regulariser's own for sensors.
    steps : int
        Gradients.
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


def check_method(method: str) -> None:
    """Refuse a method that there is not."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; {did_you_mean(method, METHODS)}")


def method_of(learned: LearnedRegularizer) -> str:
    """The method that a regulariser is for."""
    return next(name for name, suits in _SUITED.items() if suits(learned.regularizer))


def find_regularizer(method: str, name: str) -> LearnedRegularizer:
    """A regulariser of the zoo, or of a folder, for a method.

    Raises
    ------
    InputError
        When there is none, or it is of another kind.
    """
    if name in {p.name for p in list_priors()}:
        raise InputError(
            f"{name} is no regulariser for --method {method} but a prior for {', '.join(POSTERIORS)}; leave --prior away, "
            "or choose one of those"
        )
    learned = load_regularizer(name)
    if not _SUITED[method](learned.regularizer):
        raise InputError(f"{name} is no regulariser for --method {method}; choose --method {method_of(learned)}, or another --prior")
    return learned


def find_pass(name: str) -> NetworkInfo:
    """An inference network of the zoo, or of a folder.

    Raises
    ------
    InputError
        When there is none; of a prior or a regulariser, with the method that it is for.
    """
    if not Path(name).is_dir() and name in {p.name for p in list_priors()}:
        raise InputError(f"{name} is a prior and no inference network; choose --method {POSTERIORS[0]} with it")
    if not Path(name).is_dir() and name in list_regularizers():
        raise InputError(
            f"{name} is a learned regulariser and no inference network; choose --method {method_of(load_regularizer(name))} with it"
        )
    return find_network(name)


def find_prior(name: str, *, download: bool = False) -> PriorInfo:
    """A prior as `imaging.priors.zoo.find_prior` finds it.

    Raises
    ------
    InputError
        When there is none; of a regulariser, with the method that it is for.
    """
    if not Path(name).is_dir() and name in list_regularizers():
        raise InputError(f"{name} is a learned regulariser and no prior; choose --method {method_of(load_regularizer(name))} with it")
    if not Path(name).is_dir() and name in {n.name for n in list_networks()}:
        raise InputError(f"{name} is an inference network and no prior; choose --method {AMORTISED} with it")
    return zoo.find_prior(name, download=download)


def make_pass(name: str, device: torch.device, orientations: int | None = None) -> AmortisedMethod:
    """Load a pass.

    Raises
    ------
    InputError
        For an unknown network.
    """
    info = find_pass(name)
    model = AmortisedReconstructor(load_network(name, device), orientations=orientations or DEFAULT_ORIENTATIONS)
    return AmortisedMethod(model, info.name, info.digest, load_limits(info.folder))


def make_method(
    method: str, prior: str, device: torch.device, settings: FitSettings | None = None, *, weight: float | None = None,
    iterations: int | None = None, download: bool = False, start: AmortisedReconstructor | None = None,
) -> Method:  # fmt: skip
    """Load what a method needs.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    prior : str
        Name or folder of a prior, of an inference network, or of a regulariser of the method's family.
    device : torch.device
        Where to compute.
    settings : FitSettings, optional
        Of a posterior.
    weight, iterations
        Of a regulariser, see `RegularizedMethod`; iterations of a pass are its orientations.
    download : bool
        Whether a model of compressai's zoo may be fetched.
    start : AmortisedReconstructor, optional
        See `PosteriorMethod`.

    Raises
    ------
    InputError
        For an unknown method, prior or regulariser.
    """
    check_method(method)
    if method in REGULARIZERS:
        return RegularizedMethod(find_regularizer(method, prior), device, weight, iterations or GRADIENTS)
    if method == AMORTISED:
        return make_pass(prior, device, iterations)
    info = find_prior(prior, download=download)
    return PosteriorMethod(load_prior(prior, device, download=download), settings or FitSettings(), info.name, info.digest, start)
