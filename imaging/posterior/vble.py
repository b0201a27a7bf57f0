"""Variational Bayes latent estimation (VBLE, VBLE-xz) and MAP-z, as deepinv reconstructors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor
from torch.nn import functional as F

from imaging.posterior.curvature import data_curvature
from imaging.posterior.draws import antithetic, position_key
from imaging.posterior.families import LOG_WIDTH_RANGE, Dirac, Family, Gaussian, Uniform
from imaging.posterior.fitted import Frame, LatentPosterior, Moments
from imaging.posterior.likelihood import SensorLikelihood, noise_variance
from imaging.posterior.mixture import PosteriorMixture
from imaging.posterior.precision import decoding
from imaging.posterior.settings import SHIFTS, FitSettings, lattice_room, rate_scale, signal_levels
from imaging.posterior.wiener import wiener_estimate
from imaging.priors.base import Calibration, LatentPrior
from imaging.sensors.physics import SensorPhysics

Origins = list[tuple[int, int]]

_DAMPING = 0.1
"""Adam's epsilon, nats per expected width: slopes far below it are noise, and a full step along them only amplifies rounding."""
_MOMENTUM = 0.4
"""Adam's first decay: short, as mirrored draws leave little noise and few iterations are made."""
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
        self.likelihood = SensorLikelihood()

    def _frame(self, height: int, width: int, border: int, lattice: int) -> Frame:
        """Margins that make a scene a canvas of one lattice: border, room for the shift, up to a multiple of the hyper stride."""
        room = lattice_room(self.prior)

        def split(n: int, shift: int) -> tuple[int, int]:
            before = border + shift * room
            return before, -(n + 2 * border + room) % self.prior.hyper_stride + 2 * border + room - before

        (top, bottom), (left, right) = (split(n, s) for n, s in zip((height, width), SHIFTS[lattice], strict=True))
        return Frame(top, left, bottom, right)

    @torch.no_grad()
    def _start(self, x: Tensor, frame: Frame, scale: Tensor) -> tuple[Tensor, Tensor]:
        canvas = F.pad(x, (frame.left, frame.right, frame.top, frame.bottom), mode="replicate") * scale
        with decoding(x, self.settings.precision):
            latents = self.prior.encode(canvas)
        return latents.z.to(x.dtype), latents.h.to(x.dtype)

    def _levels_and_scales(
        self, y: Tensor, physics: Physics, mask: Tensor | None, level: float | Tensor | None, scale: float | Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mean signal ``(B,)`` and rate scale ``(B, 1, 1, 1)`` of each item, from its measurement where they are not given."""
        if level is None or scale is None:
            mean, high = signal_levels(y, mask)
            level = mean if level is None else level
        levels = torch.as_tensor(level, dtype=y.dtype, device=y.device).reshape(-1).expand(len(y)).clamp(min=1e-3)
        if scale is None:
            deviations = noise_variance(physics, levels.reshape(-1, 1, 1, 1).expand_as(y)).mean((1, 2, 3)).sqrt()
            ratio = self.settings.rate_ratio
            scale = torch.tensor([rate_scale(self.prior, float(d), float(h), ratio) for d, h in zip(deviations, high, strict=True)])
        return levels, torch.as_tensor(scale, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1).expand(len(y), 1, 1, 1)

    def _families(self, z: Tensor, h: Tensor, width: Tensor) -> tuple[Family, Family, list[Tensor]]:
        """Densities around the start: of the expected width for the main latents, of that of quantisation for the hyper-latents."""
        if self.settings.method == "map":
            return Dirac(z), Dirac(h), [z, h]
        family, unit = (Gaussian, 1 / math.sqrt(12)) if self.prior.density == "gaussian" else (Uniform, 1.0)
        widths = [(unit * w).log().requires_grad_() for w in (width, torch.ones_like(h))]
        return family(z, widths[0]), family(h, widths[1]), [z, h, *widths]

    @torch.no_grad()
    def _expected_width(self, z: Tensor, h: Tensor, physics: Physics, level: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
        """Full width of a uniform density of the variance that the curvatures of likelihood and prior promise, of the shape of ``z``."""
        curvature = data_curvature(self.prior, physics, level, scale, shape) + self.settings.weight * self.prior.precision(z, h)
        return torch.sqrt(12 / curvature).clamp(max=_WIDEST).to(z.dtype)

    def _loss(
        self, families: tuple[Family, Family], noise: tuple[Tensor, Tensor], y: Tensor, physics: Physics, mask: Tensor | None,
        frame: Frame, scale: Tensor,
    ) -> Tensor:  # fmt: skip
        """Objective of each item, nats, one draw."""
        z, h = (f.draw(n) for f, n in zip(families, noise, strict=True))
        with decoding(z, self.settings.precision):
            x = frame.crop(self.prior.decode(z)).to(z.dtype) / scale
            rate = -self.prior.log_prob(z, h)
        misfit = self.likelihood.fn(x, y, physics, mask=mask)
        return misfit + self.settings.weight * (rate - families[0].entropy() - families[1].entropy())

    @torch.enable_grad()
    def fit(
        self, y: Tensor, physics: Physics, *, mask: Tensor | None = None, x_init: Tensor | None = None, scale: float | Tensor | None = None,
        level: float | Tensor | None = None, origins: Origins | None = None, border: int | None = None, lattice: int = 0, seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> LatentPosterior:  # fmt: skip
        """Fit the posterior of a batch of measurements; nothing is kept on the object.

        Parameters
        ----------
        y : Tensor
            ``(B, C, h, w)`` measurement, in image units.
        physics : deepinv LinearPhysics
            Its noise model gives the likelihood.
        mask : Tensor, optional
            One where ``y`` is valid, broadcastable to ``y``. Other values must be finite; only the first estimate sees them.
        x_init : Tensor, optional
            First estimate with the scene's margins; by default a Wiener estimate.
        scale : float or (B,) Tensor, optional
            Rate scale; by default from each item's noise, see `rate_scale`.
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
        progress : callable, optional
            Called with the number of finished iterations.

        Raises
        ------
        RuntimeError
            Under ``torch.inference_mode()``.
        TypeError
            For ``method="vble-xz"`` when the physics is no `SensorPhysics`, or a noise model without a likelihood.
        ValueError
            When the scene's channels are not the prior's.
        """
        if torch.is_inference_mode_enabled():
            raise RuntimeError("a fit needs gradients; call it outside torch.inference_mode() (torch.no_grad() is fine)")
        if self.settings.method == "vble-xz" and not isinstance(physics, SensorPhysics):
            raise TypeError(f"the image-space part needs a SensorPhysics, not {type(physics).__name__}; use method='vble'")
        y = y.detach()
        levels, scales = self._levels_and_scales(y, physics, mask, level, scale)
        start = (wiener_estimate(y, physics, levels) if x_init is None else x_init).detach()
        if start.shape[1] != self.prior.channels:
            raise ValueError(f"the scene has {start.shape[1]} channels, the prior {self.prior.channels}")
        frame = self._frame(start.shape[-2], start.shape[-1], self.prior.border if border is None else border, lattice)
        places = origins or [(0, 0)] * len(y)
        z, h = self._start(start, frame, scales)
        width = self._expected_width(z, h, physics, levels, scales, start.shape)
        family, objective = self._optimise(z, h, width, y, physics, mask, frame, scales, places, seed, progress)
        information = self._information(family, y, physics, mask, frame, scales)
        return LatentPosterior(
            self.prior, family, scales, information, self.settings.weight, frame, places, seed, objective, self.settings.precision,
            (self.prior.calibration if self.settings.calibrated else Calibration()).factors(scales),
        )  # fmt: skip

    def _optimise(
        self, z: Tensor, h: Tensor, width: Tensor, y: Tensor, physics: Physics, mask: Tensor | None, frame: Frame, scale: Tensor,
        origins: Origins, seed: int, progress: Callable[[int], None] | None,
    ) -> tuple[Family, Tensor]:  # fmt: skip
        s = self.settings
        ratio = self.prior.hyper_stride // self.prior.stride
        keys = (
            position_key(z.shape, origins, seed, "z", z.device),
            position_key(h.shape, [(r // ratio, c // ratio) for r, c in origins], seed, "h", h.device),
        )
        first, second, parameters = self._families(z.requires_grad_(), h.requires_grad_(), width)
        # Adam in units of the expected width: it sees the main latents' slopes times that, and its steps are multiplied by it.
        units = [width, *(torch.ones(()).to(p) for p in parameters[1:])]
        decays = (_MOMENTUM, min(0.999, 1 - 1 / (s.iterations + 1)))  # slopes are averaged over as many steps as there are
        optimizer = torch.optim.Adam([torch.zeros_like(p) for p in parameters], lr=s.learning_rate, betas=decays, eps=_DAMPING)
        rows, columns = (n * self.prior.stride for n in z.shape[-2:])
        pixels = (rows - frame.top - frame.bottom) * (columns - frame.left - frame.right)
        history = []
        for k in range(s.iterations):
            optimizer.param_groups[0]["lr"] = s.learning_rate * (0.5 * (1 + math.cos(math.pi * k / s.iterations)) + 0.02)
            # What two mirrored draws add to the gradient cancels in its running mean, to first order.
            noise = (antithetic(keys[0], k, z.dtype), antithetic(keys[1], k, h.dtype))
            loss = self._loss((first, second), noise, y, physics, mask, frame, scale)
            gradients = torch.autograd.grad(loss.sum(), parameters, materialize_grads=True)
            self._step(optimizer, parameters, gradients, units)
            for log_width in parameters[2:]:  # not clamped where it is used: the gradient would not lead back
                log_width.data.clamp_(*LOG_WIDTH_RANGE)
            history.append(loss.detach() / pixels)
            if progress is not None:
                progress(k + 1)
        fitted = type(first)(*(v.detach() for v in ([z] if isinstance(first, Dirac) else [z, parameters[2]])))
        return fitted, torch.stack(history)

    @staticmethod
    @torch.no_grad()
    def _step(optimizer: torch.optim.Adam, parameters: list[Tensor], gradients: tuple[Tensor, ...], units: list[Tensor]) -> None:
        """One step of Adam, whose own parameters hold the last step in units."""
        steps: list[Tensor] = optimizer.param_groups[0]["params"]
        for step, gradient, unit in zip(steps, gradients, units, strict=True):
            step.zero_()
            step.grad = gradient * unit
        optimizer.step()
        for parameter, step, unit in zip(parameters, steps, units, strict=True):
            parameter.addcmul_(step, unit)

    @torch.no_grad()
    def _information(self, family: Family, y: Tensor, physics: Physics, mask: Tensor | None, frame: Frame, scale: Tensor) -> Tensor | None:
        """Diagonal of A^T Sigma^-1 A at the fitted scene, where the image-space part is wanted and known."""
        if self.settings.method == "vble" or not isinstance(physics, SensorPhysics):
            return None
        with decoding(y, self.settings.precision):
            x = frame.crop(self.prior.decode(family.centre)).to(y.dtype) / scale
        precision = 1 / noise_variance(physics, physics.A(x))
        return physics.information(precision if mask is None else precision * mask)

    def fit_mixture(self, y: Tensor, physics: Physics, *, seed: int = 0, **kwargs: Any) -> PosteriorMixture:
        """Fit each of ``settings.lattices`` placements of the latent lattice; arguments as in `fit`."""
        return PosteriorMixture(tuple(self.fit(y, physics, lattice=k, seed=4 * seed + k, **kwargs) for k in range(self.settings.lattices)))

    def posterior_moments(self, y: Tensor, physics: Physics, **kwargs: Any) -> Moments:
        """Fit, then posterior mean and standard deviation of the measured region and its margins."""
        return self.fit_mixture(y, physics, **kwargs).moments(self.settings.samples)

    def sample(self, y: Tensor, physics: Physics, n: int = 1, *, seed: int = 0) -> Tensor:
        """Fit, then ``n`` posterior samples ``(n, B, C, H, W)``."""
        return self.fit_mixture(y, physics, seed=seed).sample(n)

    def forward(self, y: Tensor, physics: Physics, x_init: Tensor | None = None, seed: int | None = None, **kwargs: Any) -> Tensor:
        """Posterior mean, the shape of the scene; usable under ``deepinv.test``."""
        return self.fit_mixture(y, physics, x_init=x_init, seed=seed or 0).mean(self.settings.samples)
