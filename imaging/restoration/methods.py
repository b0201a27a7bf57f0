"""The table of methods: what a scene can be restored with, and what planning asks of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.amortised import (
    DEFAULT_ORIENTATIONS,
    AmortisedReconstructor,
    find_network,
    load_limits,
    load_network,
)
from imaging.errors import InputError
from imaging.names import AMORTISED, POSTERIORS
from imaging.posterior import VBLE, FitSettings, lattice_room, rate_scale, sensor_deviation
from imaging.priors import LatentPrior, load_prior, zoo
from imaging.raster.tiles import STEP
from imaging.releases import NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO, ModelInfo
from imaging.restoration.amortised import AmortisedMethod
from imaging.restoration.method import Method, Progress, Window
from imaging.restoration.request import regularizer_method
from imaging.sensors import SensorPhysics


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
        return {"calibration": {"latent_variance": self.prior.latent_variance}} | (
            {} if guarantee is None else {"half_widths": guarantee.half_widths}
        )


def check_kind(name: str, wanted: str) -> None:
    """Refuse a released model of another kind, with the method that it is for; folders are looked at when they are loaded."""
    if Path(name).is_dir():
        return
    for kind, released in (("a prior", PRIOR_ZOO), ("a learned regulariser", REGULARIZER_ZOO), ("an inference network", NETWORK_ZOO)):
        if kind.endswith(wanted) or name not in {m.name for m in released.models()}:
            continue
        fixed = {"a prior": POSTERIORS[0], "an inference network": AMORTISED}
        method = fixed.get(kind) or regularizer_method(released.find(name))
        raise InputError(f"{name} is {kind} and no {wanted}; choose --method {method} with it, or leave --prior away")


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


def make_fit(
    name: str, device: torch.device, settings: FitSettings, *, download: bool = False, start: AmortisedReconstructor | None = None
) -> PosteriorMethod:  # fmt: skip
    """Load a fit; `InputError` for an unknown prior, or one that is to be fetched and ``download`` does not allow it."""
    info = find_prior(name, download=download)
    return PosteriorMethod(load_prior(name, device, download=download), settings, info.name, info.digest, start)
