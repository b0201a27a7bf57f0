"""Log-probabilities of latents perturbed by unit uniform noise, without dead gradients in the tails."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.priors.factorized import FactorizedDensity

SCALE_BOUND = 0.11
"""Smallest scale of the conditional density; compressai's default."""
SCALE_REACH = 0.1 * SCALE_BOUND
"""How far below it a slope still says that the scale should be larger."""

_FARTHEST = 2000.0
"""Standardised distances are computed up to here; beyond it the density is as good as zero and its gradient stays finite."""


def decoder_deviation(channels: int, alpha: float) -> float:
    """Standard deviation of a decoder's error, image units, that a weight of the squared error in training stands for.

    Rate-distortion training with uniform noise is variational inference with decoder variance ``channels / (2 ln 2 alpha 255**2)``, where
    ``alpha`` weighs the squared error (grey levels of 255) against bits per pixel, see Balle et al. (2018) and Biquard et al. (2025).
    """
    if alpha <= 0:
        raise ValueError(f"alpha is {alpha}; it must be above 0")
    return math.sqrt(channels / (2 * math.log(2) * alpha)) / 255


def nats_to_bits(nats: Tensor) -> Tensor:
    """Convert an amount of information from nats to bits."""
    return nats / math.log(2.0)


class _LogNdtr(torch.autograd.Function):
    """``log_ndtr`` with an accurate gradient: in float32, PyTorch's own is wrong by large factors from hundreds of deviations on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Logarithm of the standard normal distribution function."""
        ctx.save_for_backward(x)
        value: Tensor = torch.special.log_ndtr(x)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Density over distribution function, by the scaled complementary error function."""
        (x,) = ctx.saved_tensors
        slope: Tensor = math.sqrt(2 / math.pi) / torch.special.erfcx(-math.sqrt(0.5) * x)
        return gradients[0] * slope


class _Bounded(torch.autograd.Function):
    """``clamp`` whose gradient fades outside the bounds where descending along it leads back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, reach: float) -> Tensor:
        """Clamped values."""
        ctx.save_for_backward(x)
        ctx.bounds = low, high, reach
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient times what is left of it so far out, zero where it leads further."""
        (x,), (low, high, reach), gradient = ctx.saved_tensors, ctx.bounds, gradients[0]
        outside = (low - x).clamp(min=0) + (x - high).clamp(min=0)
        lost = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return (gradient * torch.exp(-outside / reach)).masked_fill(lost, 0.0), None, None, None


def bounded(x: Tensor, low: float = -math.inf, high: float = math.inf, *, reach: float) -> Tensor:
    """Values clamped to bounds; beyond a bound the gradient fades where descending along it leads back, and is zero otherwise.

    With a plain clamp a scale that crosses its bound switches a slope of hundreds of nats on or off, so that a fit depends on the rounding
    of its input. ``reach`` is the distance from a bound over which the gradient falls to 1 / e: short against what a fit moves, long
    against rounding.
    """
    value: Tensor = _Bounded.apply(x, low, high, reach)  # type: ignore[no-untyped-call]
    return value


def _log_ndtr(x: Tensor) -> Tensor:
    value: Tensor = _LogNdtr.apply(x)  # type: ignore[no-untyped-call]
    return value


def _log1mexp(x: Tensor) -> Tensor:
    """``log(1 - exp(x))`` for ``x < 0``, accurate at both ends (Maechler 2012)."""
    x = x.clamp(max=-1e-7)
    near_zero = x > -math.log(2.0)
    # Each branch gets a harmless argument where it is not taken, so that its gradient is finite there.
    a = torch.log(-torch.expm1(torch.where(near_zero, x, torch.full_like(x, -1.0))))
    b = torch.log1p(-torch.exp(torch.where(near_zero, torch.full_like(x, -1.0), x)))
    return torch.where(near_zero, a, b)


def log_uniform_gaussian(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    r"""Log-density of a Gaussian convolved with the uniform density on [-1/2, 1/2], nats.

    .. math:: \log\left[\Phi\left(\tfrac{1/2 - |v|}{s}\right) - \Phi\left(\tfrac{-1/2 - |v|}{s}\right)\right], \quad v = z - \mu

    The arguments are broadcast; ``scale`` is bounded below by 0.11, as in compressai. The result is float32 (float64 for float64 input),
    finite with a non-zero gradient at any distance up to 2000.
    """
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    with torch.autocast(z.device.type, enabled=False):
        v = (z.to(dtype) - mean.to(dtype)).abs().clamp(max=_FARTHEST)
        s = bounded(scale.to(dtype), SCALE_BOUND, reach=SCALE_REACH)
        upper = _log_ndtr((0.5 - v) / s)
        lower = _log_ndtr((-0.5 - v) / s)
        return upper + _log1mexp(lower - upper)


def log_bottleneck(bottleneck: FactorizedDensity, h: Tensor) -> Tensor:
    """Log-density, nats, of (perturbed) hyper-latents ``(B, C, H, W)`` under their factorised density, for each of them.

    By the sign trick in the log domain: compressai's own likelihood is a difference of sigmoids with a floor of 1e-9, whose gradient
    vanishes in the tails.
    """
    dtype = torch.float64 if h.dtype == torch.float64 else torch.float32
    with torch.autocast(h.device.type, enabled=False):
        batch, channels, height, width = h.shape
        values = h.to(dtype).permute(1, 0, 2, 3).reshape(channels, 1, -1)
        lower = bottleneck.logits(values - 0.5)
        upper = bottleneck.logits(values + 0.5)
        # sigmoid(u) - sigmoid(l) = sigmoid(-l) - sigmoid(-u): take the pair whose logits are negative.
        flip = (lower + upper) > 0
        hi, lo = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
        log_hi, log_lo = F.logsigmoid(hi), F.logsigmoid(lo)
        return (log_hi + _log1mexp(log_lo - log_hi)).reshape(channels, batch, height, width).permute(1, 0, 2, 3)
