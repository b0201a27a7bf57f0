"""The table of methods: what a scene can be restored with, and what planning asks of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from imaging.posterior import METHODS as POSTERIORS
from imaging.posterior import VBLE, FitSettings, lattice_room, rate_scale, sensor_deviation
from imaging.priors import LatentPrior, PriorInfo, list_priors, load_prior, zoo
from imaging.raster.tiles import STEP
from imaging.sensors import SensorPhysics

REGULARIZERS: dict[str, Callable[[Regularizer], bool]] = {
    "tv": lambda r: isinstance(r, TotalVariation),
    "foe": lambda r: isinstance(r, FieldOfExperts),
    "crr": lambda r: isinstance(r, RidgeRegularizer) and r.weak_convexity == 0,
    "wcrr": lambda r: isinstance(r, RidgeRegularizer) and r.weak_convexity > 0,
}
"""Methods with a learned regulariser, and which regularisers are theirs."""
METHODS = (*POSTERIORS, *REGULARIZERS)
GRADIENTS = RegularizedReconstructor.steps
"""Steps of the minimisation of a regularised energy."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Window:
    """Windows that are restored together, in image units and in the order of the method's channels.

    Attributes
    ----------
    y, mask : Tensor
        ``(B, C, h, w)`` measured values, and one where they are valid.
    origins : list of (int, int)
        Absolute latent position of each window.
    scale, level : float
        Rate scale and mean signal of the scene.
    seed : int
        Of all draws.
    samples : int
        Posterior samples that are wanted.
    """

    y: Tensor
    mask: Tensor
    origins: list[tuple[int, int]]
    scale: float
    level: float
    seed: int
    samples: int = 0


class Method(ABC):
    """A way to restore windows.

    Attributes
    ----------
    name, digest : str
        Of the prior or the regulariser.
    channels : int
        Bands that are restored together; 1 for each by itself.
    bands : tuple of str
        Their common names, where these are known.
    border : int
        Pixels around what is measured that the method needs because it is incomplete there.
    stride, lattice, step, room : int
        Of the latents; what canvases, and what tiles' windows are multiples of; what they keep free for shifting the latents' lattice.
    passes : int
        Iterations of a group of bands, at most: what progress is counted in.
    """

    name: str
    digest: str
    channels: int = 1
    bands: tuple[str, ...] = ()
    border: int = 0
    stride: int = 1
    lattice: int = 1
    step: int = STEP
    room: int = 0
    passes: int = 1

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """How far a fit carries what it does not know beyond a window, without the PSF, pixels."""

    def rate(self, physics: SensorPhysics, level: float, high: float) -> float:
        """Rate scale for a scene of this mean and brightest signal."""
        return 1.0

    @abstractmethod
    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """``restored`` and, where there is a spread, ``std`` and ``sample_000`` ...; each ``(B, C, H, W)``, margins included."""

    def record(self) -> dict[str, Any]:
        """What standard deviations rest on: ``calibration``, and ``half_widths`` of guaranteed intervals where there are any."""
        return {"calibration": "none"}


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
    """

    def __init__(self, prior: LatentPrior, settings: FitSettings, name: str = "", digest: str = "") -> None:
        self.prior, self.settings, self.name, self.digest = prior, settings, name, digest
        self.channels, self.bands, self.border, self.stride = prior.channels, tuple(prior.bands), prior.border, prior.stride
        self.lattice, self.step, self.room = prior.hyper_stride, max(STEP, prior.hyper_stride), lattice_room(prior)
        self.vble, self.passes = VBLE(prior, settings), settings.iterations * settings.lattices

    @property
    def device(self) -> torch.device:
        """That of the prior."""
        return next(self.prior.parameters()).device

    @property
    def reach(self) -> int:
        """The reach of a latent."""
        return self.prior.receptive_field(max(256, 8 * self.prior.hyper_stride))

    def rate(self, physics: SensorPhysics, level: float, high: float) -> float:
        """As asked for, or what the measurement can tell."""
        s = self.settings
        if s.rate_scale is not None:
            return s.rate_scale
        return rate_scale(self.prior, sensor_deviation(physics, level, self.channels), high, s.rate_ratio)

    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """Posterior mean, standard deviation and samples."""
        w = window
        posterior = self.vble.fit_mixture(
            w.y, physics, mask=w.mask, scale=w.scale, level=w.level, origins=w.origins, border=0, seed=w.seed, progress=progress
        )
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
    reach = 24

    def __init__(self, learned: LearnedRegularizer, device: torch.device, weight: float | None = None, steps: int = GRADIENTS) -> None:
        self.name, self.digest, self.passes = learned.name, learned.digest, steps
        self.reconstructor = RegularizedReconstructor(learned, weight=weight, steps=steps).to(device)

    @property
    def device(self) -> torch.device:
        """That of the parameters."""
        found: torch.device = self.reconstructor.theta.device
        return found

    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """The minimiser."""
        return {"restored": self.reconstructor(window.y, physics, mask=window.mask, level=window.level, progress=progress)}


def check_method(method: str) -> None:
    """Refuse a method that there is not."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; {did_you_mean(method, METHODS)}")


def method_of(learned: LearnedRegularizer) -> str:
    """The method that a regulariser is for."""
    return next(name for name, suits in REGULARIZERS.items() if suits(learned.regularizer))


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
    if not REGULARIZERS[method](learned.regularizer):
        raise InputError(f"{name} is no regulariser for --method {method}; choose --method {method_of(learned)}, or another --prior")
    return learned


def find_prior(name: str, *, download: bool = False) -> PriorInfo:
    """A prior as `imaging.priors.zoo.find_prior` finds it.

    Raises
    ------
    InputError
        When there is none; of a regulariser, with the method that it is for.
    """
    if not Path(name).is_dir() and name in list_regularizers():
        raise InputError(f"{name} is a learned regulariser and no prior; choose --method {method_of(load_regularizer(name))} with it")
    return zoo.find_prior(name, download=download)


def make_method(
    method: str, prior: str, device: torch.device, settings: FitSettings | None = None, *, weight: float | None = None,
    iterations: int | None = None, download: bool = False,
) -> Method:  # fmt: skip
    """Load what a method needs.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    prior : str
        Name or folder of a prior, or of a regulariser of the method's family.
    device : torch.device
        Where to compute.
    settings : FitSettings, optional
        Of a posterior.
    weight, iterations
        Of a regulariser, see `RegularizedMethod`.
    download : bool
        Whether a model of compressai's zoo may be fetched.

    Raises
    ------
    InputError
        For an unknown method, prior or regulariser.
    """
    check_method(method)
    if method in REGULARIZERS:
        return RegularizedMethod(find_regularizer(method, prior), device, weight, iterations or GRADIENTS)
    info = find_prior(prior, download=download)
    return PosteriorMethod(load_prior(prior, device, download=download), settings or FitSettings(), info.name, info.digest)
