"""Fusing windows of a bundle by a fit of a joint prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepinv.physics import StackedLinearPhysics
from deepinv.utils import TensorList
from torch import Tensor
from torch.nn import functional as F

from imaging.fusion import CrossBandGaussian, SpectralPhysics, bundle_margin
from imaging.moments import Moments, Posterior
from imaging.posterior import VBLE, FitSettings, lattice_room, rate_scale
from imaging.priors import LatentPrior
from imaging.raster.tiles import STEP
from imaging.restoration.bundle import Stack
from imaging.restoration.fitting import channel_order
from imaging.restoration.fusion_methods import BundleWindow, FusionMethod
from imaging.sensors import SensorPhysics, SignalDependentNoise

FIT_RATIO = 0.8
"""Decoder deviation of a fit over the error that the Gaussian posterior expects; from tuning tiles."""


@dataclass(frozen=True)
class FittedBundle(Posterior):
    """A fitted posterior without its margins, its bands in the order ``order``."""

    inner: Posterior
    margin: int
    order: list[int]
    draws: int

    def _cut(self, x: Tensor) -> Tensor:
        m = self.margin
        return x[..., self.order, m : x.shape[-2] - m, m : x.shape[-1] - m]

    def moments(self, samples: int = 0, block: int = 1) -> Moments:
        """Mean and deviation of the pixels, or of means over blocks where the margin is a multiple of their side."""
        if self.margin % block:
            raise ValueError(f"the block is {block}; accepted are divisors of the margin, {self.margin}")
        mean, std = self.inner.moments(samples or self.draws, block)
        m = self.margin // block
        cut = (..., self.order, slice(m, mean.shape[-2] - m), slice(m, mean.shape[-1] - m))
        return Moments(mean[cut], std[cut])

    def sample(self, n: int, first: int = 0) -> Tensor:
        """Posterior samples ``(n, B, C, H, W)``."""
        return self._cut(self.inner.sample(n, first))


class FitFusion(FusionMethod):
    """A variational posterior of a joint prior, started from the cross-band Gaussian."""

    pixel_bytes = 900

    def __init__(self, prior: LatentPrior, settings: FitSettings, name: str = "", digest: str = "") -> None:
        self.prior, self.settings, self.name, self.digest = prior, settings, name, digest
        self.kind, self.steps, self.step = settings.method, settings.iterations, max(STEP, prior.hyper_stride)
        self.vble, self.passes, self.room = VBLE(prior, settings), settings.iterations * settings.lattices, lattice_room(prior)

    def halo(self, ratio: int) -> int:
        """Twice the reach of a latent, and the coarse kernels'."""
        return 2 * int(self.prior.receptive_field(max(256, 8 * self.prior.hyper_stride))) + 10 * ratio

    def margin(self, stack: Stack) -> int:
        """The reach of the coarse kernels and of what the decoder lacks at its border."""
        reach = bundle_margin(stack.bands[1], stack.ratio, (stack.ratio / 2, stack.ratio / 2)) + self.prior.border
        return -(-reach // stack.ratio) * stack.ratio

    def physics(self, window: BundleWindow, stack: Stack, order: list[int]) -> StackedLinearPhysics:
        """The bundle's, its bands in the prior's order; what the sharp band sees beyond their span counts as noise."""
        model, margin, known = window.model, self.margin(stack), stack.statistics
        beyond = known.outside.to(model.means) * model.fine_power(stack.position)
        noise = model.sharp.noise_model
        sigma = (noise.sigma0.flatten().square() + beyond).sqrt()
        sharp = SensorPhysics(model.sharp.psf, SignalDependentNoise(sigma, noise.gain.flatten()).to(sigma.device), margin)
        low, own = model.coarse, model.coarse.noise_model
        coarse = SensorPhysics(
            low.psf[:, order],
            SignalDependentNoise(own.sigma0.flatten()[order], own.gain.flatten()[order]).to(sigma.device),
            margin,
            low.factor,
        )
        return StackedLinearPhysics([SpectralPhysics(sharp, known.weights.to(sigma)[:, order]), coarse])

    def fuse(self, window: BundleWindow, stack: Stack, progress: Callable[[int], None] | None = None) -> Posterior:
        """Posterior of the coarse bands."""
        a, model, margin = window.area, window.model, self.margin(stack)
        order = channel_order(stack.bands[1], tuple(self.prior.bands))
        offset = stack.statistics.offsets.to(a.sharp).reshape(1, -1, 1, 1)
        mean, _ = model.posterior(a.sharp, a.coarse, a.sharp_mask, a.coarse_mask)
        start = F.pad(mean[:, -len(order) :][:, order], (margin,) * 4, mode="replicate")
        level = float(model.means[-len(order) :].mean())
        scale = self.settings.rate_scale
        if scale is None:
            scale = rate_scale(self.prior, self.expected_error(model, stack), float(stack.brightest), self.settings.rate_ratio)
        corners = [(r // self.prior.stride, c // self.prior.stride) for r, c in window.origins]
        y, masks = TensorList([a.sharp - offset, a.coarse[:, order]]), TensorList([a.sharp_mask, a.coarse_mask[:, order]])
        posterior = self.vble.fit_mixture(
            y, self.physics(window, stack, order), mask=masks, x_init=start, rate_scale=scale, level=level, origins=corners, border=0,
            seed=window.seed, progress=progress,
        )  # fmt: skip
        return FittedBundle(posterior, margin, [order.index(k) for k in range(len(order))], self.settings.samples)

    def expected_error(self, model: CrossBandGaussian, stack: Stack) -> float:
        """Root mean square error that the Gaussian posterior leaves in the scene."""
        return float(model.expected(stack.position)[-len(stack.bands[1]) :].square().mean().sqrt())

    def record(self) -> dict[str, Any]:
        """Of the prior."""
        return {"calibration": {"latent_variance": self.prior.latent_variance} if self.settings.calibrated else "none"}
