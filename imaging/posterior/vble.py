"""Variational Bayes latent estimation (VBLE, VBLE-xz) and MAP-z, as deepinv reconstructors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.former import renamed
from imaging.moments import Moments
from imaging.posterior.curvature import data_curvature
from imaging.posterior.fitted import Frame, LatentPosterior
from imaging.posterior.gaussian import expected_deviation, gaussian_estimate
from imaging.posterior.measurement import Mask, Measured, Measurement, measurements, scene_shape
from imaging.posterior.mixture import PosteriorMixture
from imaging.posterior.running import FitInputs, RunningFit
from imaging.posterior.settings import SHIFTS, FitSettings, decoding, default_weight, lattice_room, rate_scale, signal_levels
from imaging.priors.base import LatentPrior
from imaging.sensors.physics import SensorPhysics
from imaging.sensors.wiener import wiener_estimate

Origins = list[tuple[int, int]]

_WIDEST = 2.0
"""Largest width that a density may start from."""


class VBLE(Reconstructor):  # type: ignore[misc]
    r"""Posterior of a scene by variational inference in the latent space of a compressive autoencoder.

    Minimises, in nats, :math:`E_q[-\log p(y\mid x)] + \lambda\,KL(q(z,h)\,\|\,p(z,h))` over independent uniform densities of the main and
    hyper latents. With ``method="vble-xz"`` the image given the latents has its own variance, whose optimum is known in closed form;
    ``"map"`` shrinks the densities to points and keeps the image-space part where the physics is a `SensorPhysics`. An instance holds
    settings only: fits may run in parallel.

    Parameters
    ----------
    prior : LatentPrior
        Density over scenes.
    settings : FitSettings, optional
        See there.

    References
    ----------
    M. Biquard, M. Chabert, F. Genin, C. Latry, T. Oberlin, "Variational Bayes image restoration with compressive autoencoders",
    arXiv:2311.17744, and "Deep priors for satellite image restoration with accurate uncertainties", arXiv:2412.04130.

    Notes
    -----
    As the expectation over the image-space noise does not change the gradient with respect to the latents, VBLE-xz is VBLE followed by
    the closed form of `LatentPosterior.image_factor`.
    """

    def __init__(self, prior: LatentPrior, settings: FitSettings | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.settings = settings or FitSettings()

    def _frame(self, height: int, width: int, border: int, lattice: int) -> Frame:
        """Margins that make a scene a canvas of one lattice: border, room for the shift, up to a multiple of the hyper stride."""
        room = lattice_room(self.prior)

        def split(n: int, shift: int) -> tuple[int, int]:
            before = border + shift * room
            return before, -(n + 2 * border + room) % self.prior.hyper_stride + 2 * border + room - before

        (top, bottom), (left, right) = (split(n, s) for n, s in zip((height, width), SHIFTS[lattice], strict=True))
        return Frame(top, left, bottom, right)

    @torch.no_grad()
    def _start(self, x: Tensor, frame: Frame, rate_scale: Tensor) -> tuple[Tensor, Tensor]:
        canvas = F.pad(x, (frame.left, frame.right, frame.top, frame.bottom), mode="replicate") * rate_scale
        with decoding(x, self.settings.precision):
            latents = self.prior.encode(canvas)
        return latents.z.to(x.dtype), latents.h.to(x.dtype)

    def _levels(self, pieces: list[Measurement], level: float | Tensor | None) -> Tensor:
        """Mean signal ``(B,)`` of each item, of its first measurement where it is not given."""
        y = pieces[0].y
        found = signal_levels(y, pieces[0].mask)[0] if level is None else torch.as_tensor(level, dtype=y.dtype, device=y.device)
        return found.reshape(-1).expand(len(y)).clamp(min=1e-3)

    def _scales(self, pieces: list[Measurement], levels: Tensor, fixed: float | Tensor | None, shape: torch.Size) -> Tensor:
        """Rate scale ``(B, 1, 1, 1)`` of each item: as given, as fixed by the settings, or from what its measurements tell."""
        found = self.settings.rate_scale if fixed is None else fixed
        if found is None:
            _, high = signal_levels(pieces[0].y, pieces[0].mask)
            deviations = expected_deviation(pieces, levels, shape)
            ratio = self.settings.rate_ratio
            found = torch.tensor([rate_scale(self.prior, float(d), float(h), ratio) for d, h in zip(deviations, high, strict=True)])
        return torch.as_tensor(found).to(levels).reshape(-1, 1, 1, 1).expand(len(levels), 1, 1, 1)

    @torch.no_grad()
    def _expected_width(
        self, z: Tensor, h: Tensor, pieces: list[Measurement], level: Tensor, rate_scale: Tensor, shape: torch.Size, weight: float
    ) -> Tensor:  # fmt: skip
        """Full width of a uniform density of the variance that the curvatures of likelihood and prior promise, of the shape of ``z``."""
        curvature = data_curvature(self.prior, pieces, level, rate_scale, shape) + weight * self.prior.precision(z, h)
        return torch.sqrt(12 / curvature).clamp(max=_WIDEST).to(z.dtype)

    @renamed(scale="rate_scale")
    def begin(
        self, y: Measured, physics: Physics, *, mask: Mask = None, x_init: Tensor | None = None, rate_scale: float | Tensor | None = None,
        level: float | Tensor | None = None, origins: Origins | None = None, border: int | None = None, lattice: int = 0, seed: int = 0,
        compensated: bool = False,
    ) -> RunningFit:  # fmt: skip
        """A fit before its first iteration, to be advanced step by step; arguments and errors as in `fit`."""
        if torch.is_inference_mode_enabled():
            raise RuntimeError("a fit needs gradients; call it outside torch.inference_mode() (torch.no_grad() is fine)")
        y = y.detach()
        pieces = measurements(y, physics, mask)
        levels = self._levels(pieces, level)
        start = self._first_estimate(y, physics, pieces, levels) if x_init is None else x_init.detach()
        if start.shape[1] != self.prior.channels:
            raise ValueError(f"the scene has {start.shape[1]} channels, the prior {self.prior.channels}")
        scales = self._scales(pieces, levels, rate_scale, start.shape)
        frame = self._frame(start.shape[-2], start.shape[-1], self.prior.border if border is None else border, lattice)
        z, h = self._start(start, frame, scales)
        weight = self._weight(pieces, start.shape)
        width = self._expected_width(z, h, pieces, levels, scales, start.shape, weight)
        places = origins or [(0, 0)] * len(start)
        problem = FitInputs(self.prior, self.settings, pieces, frame, scales, places, seed, weight)
        running = RunningFit(problem, z, h, width)
        if not compensated:
            return running
        z, h = self._start(2 * start - running.scene(), frame, scales)
        return RunningFit(problem, z, h, width)

    def _weight(self, pieces: list[Measurement], shape: torch.Size) -> float:
        """Weight of the prior as given, or by how much was measured of scenes of a shape; a sensor's margins do not count."""
        if self.settings.weight is not None:
            return self.settings.weight
        physics = pieces[0].physics
        if len(pieces) == 1 and isinstance(physics, SensorPhysics):
            return default_weight(1 / physics.factor**2)
        return default_weight(sum(p.y.shape[1:].numel() for p in pieces) / shape[1:].numel())

    @staticmethod
    def _first_estimate(y: Measured, physics: Physics, pieces: list[Measurement], levels: Tensor) -> Tensor:
        """Short Wiener filters for a sensor, conjugate gradients for any other physics."""
        if isinstance(physics, SensorPhysics):
            return wiener_estimate(pieces[0].y, physics, levels)
        return gaussian_estimate(pieces, levels, scene_shape(y, physics))

    @renamed(scale="rate_scale")
    def fit(
        self, y: Measured, physics: Physics, *, mask: Mask = None, progress: Callable[[int], None] | None = None,
        x_init: Tensor | None = None, rate_scale: float | Tensor | None = None, level: float | Tensor | None = None,
        origins: Origins | None = None, border: int | None = None, lattice: int = 0, seed: int = 0, compensated: bool = False,
    ) -> LatentPosterior:  # fmt: skip
        """Fit the posterior of a batch of measurements; nothing is kept on the object.

        Parameters
        ----------
        y : Tensor or TensorList
            ``(B, C, h, w)`` measurement, in image units; a list of them for a stacked physics.
        physics : deepinv LinearPhysics
            Its noise model gives the likelihood. Kernels and noise may differ between the items of a batch.
        mask : Tensor or TensorList, optional
            One where ``y`` is valid, broadcastable to ``y``. Other values must be finite; only the first estimate sees them.
        progress : callable, optional
            Called with the number of finished iterations.
        x_init : Tensor, optional
            First estimate with the scene's margins; by default a Wiener estimate.
        rate_scale : float or (B,) Tensor, optional
            Factor on the scene; by default that of the settings, or from what the measurements of each item tell, see `rate_scale`.
        level : float or (B,) Tensor, optional
            Mean signal; by default of each item of ``y``.
        origins : list of (int, int), optional
            Absolute latent row and column of each item, which the random draws depend on.
        border : int, optional
            Pixels to add around the scene because the decoder is incomplete there; by default the prior's border. 0 when the scene has
            unobserved pixels of its own.
        lattice : int
            Placement of the latent lattice, 0 to 3.
        seed : int
            Of all draws.
        compensated : bool
            Whether the start is encoded with what the mean of a first pair of draws lacks of it ("twicing", Tukey 1977): a decoder takes
            the noise of the latents for noise of the scene, and smooths. For an ``x_init`` as good as a fit.

        Raises
        ------
        RuntimeError
            Under ``torch.inference_mode()``.
        TypeError
            For a noise model without a likelihood, or a list of measurements that is not the physics'.
        ValueError
            When the scene's channels are not the prior's.
        """
        running = self.begin(
            y, physics, mask=mask, x_init=x_init, rate_scale=rate_scale, level=level, origins=origins, border=border, lattice=lattice,
            seed=seed, compensated=compensated,
        )  # fmt: skip
        running.advance(progress=progress)
        return running.posterior()

    @renamed(scale="rate_scale")
    def fit_mixture(
        self, y: Measured, physics: Physics, *, mask: Mask = None, progress: Callable[[int], None] | None = None,
        x_init: Tensor | None = None, rate_scale: float | Tensor | None = None, level: float | Tensor | None = None,
        origins: Origins | None = None, border: int | None = None, seed: int = 0, compensated: bool = False,
    ) -> PosteriorMixture:  # fmt: skip
        """Fit each of ``settings.lattices`` placements of the latent lattice; arguments as in `fit`."""
        return PosteriorMixture(tuple(
            self.fit(
                y, physics, mask=mask, progress=progress, x_init=x_init, rate_scale=rate_scale, level=level, origins=origins, border=border,
                lattice=k, seed=4 * seed + k, compensated=compensated,
            )
            for k in range(self.settings.lattices)
        ))  # fmt: skip

    @renamed(scale="rate_scale")
    def posterior_moments(
        self, y: Measured, physics: Physics, *, mask: Mask = None, progress: Callable[[int], None] | None = None,
        x_init: Tensor | None = None, rate_scale: float | Tensor | None = None, level: float | Tensor | None = None,
        origins: Origins | None = None, border: int | None = None, seed: int = 0, compensated: bool = False,
    ) -> Moments:  # fmt: skip
        """Fit, then posterior mean and standard deviation of the measured region and its margins; arguments as in `fit`."""
        mixture = self.fit_mixture(
            y, physics, mask=mask, progress=progress, x_init=x_init, rate_scale=rate_scale, level=level, origins=origins, border=border,
            seed=seed, compensated=compensated,
        )  # fmt: skip
        return mixture.moments(self.settings.samples)

    def sample(self, y: Measured, physics: Physics, n: int = 1, *, seed: int = 0) -> Tensor:
        """Fit, then ``n`` posterior samples ``(n, B, C, H, W)``."""
        return self.fit_mixture(y, physics, seed=seed).sample(n)

    def forward(self, y: Measured, physics: Physics, x_init: Tensor | None = None, seed: int | None = None, **kwargs: Any) -> Tensor:
        """Posterior mean, the shape of the scene; usable under ``deepinv.test``."""
        return self.fit_mixture(y, physics, x_init=x_init, seed=seed or 0).mean(self.settings.samples)
