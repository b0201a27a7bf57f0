"""Quantisers: noise that stands for quantisation in the search, and learned steps with straight-through rounding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

CLIPPED = 0.6
"""Part of the range that activations of fewer than 8 bits keep at first."""
SAMPLED = 10_000
"""Values that tell the range of activations in the search; rarer ones lie outside, as they do with trained quantisers."""
INPUT_LEVELS = 2048
"""Levels from 0 to 1 that the first layer of a quantised network tells apart."""
HWGQ_STEPS = {1: 1.0576, 2: 0.6356, 3: 0.3721, 4: 0.21306, 8: 0.020301}
"""Best steps of a unit half-Gaussian by bits (half-wave Gaussian quantisation, Cai et al. 2017)."""


def part_of(bits: int) -> float:
    """Part of an activation's range that a quantiser covers at first."""
    return 1.0 if bits == 8 else CLIPPED


def full_scale_noise(x: Tensor) -> Tensor:
    """Noise of activations that one level as wide as their range would add, of their shape; uniform.

    The range is that of `SAMPLED` values spread over the tensor: single large ones would make the noise stronger than quantisers do.
    """
    values = x.detach().flatten()
    least, most = torch.aminmax(values[:: max(1, len(values) // SAMPLED)])
    return (torch.rand_like(x) - 0.5) * (most - least)


def add_noise(x: Tensor, shares: Tensor, bits: tuple[int, ...], noise: Tensor | None = None) -> Tensor:
    """A tensor with the noise that quantising it would add, uniform over one step, so of standard deviation ``step / sqrt(12)``.

    ``shares``, ``(bits,)``, of the bit widths sum to 1. They mix the steps, and one draw serves all of them: with one share at 1 it is the
    noise of that width. The gradient with respect to the tensor is 1, that with respect to the shares is the noise's. For activations
    ``noise`` comes from `full_scale_noise` and steps are those of their quantisers at first (`part_of`). Without it the tensor is one of
    weights, whose noise is drawn here and whose steps cover its range.
    """
    parts = [1.0 if noise is None else part_of(b) for b in bits]
    if noise is None:
        least, most = torch.aminmax(x.detach())
        noise = (torch.rand_like(x) - 0.5) * (most - least)
    mixed = sum((share * part / (2**b - 1) for share, part, b in zip(shares, parts, bits, strict=True)), noise.new_zeros(()))
    return torch.addcmul(x, noise, mixed)


class _Round(torch.autograd.Function):
    """Rounding, half to even, whose gradient is 1."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def rounded(x: Tensor) -> Tensor:
    """Rounded half to even; the gradient passes straight through."""
    result: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return result


def input_levels(x: Tensor) -> Tensor:
    """An image on the levels that the first layer tells apart."""
    return (x * INPUT_LEVELS).round() / INPUT_LEVELS


def exactly_summed(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``(channels, ...)`` and bias ``(channels,)`` of a first layer, rounded so that its sums are exact.

    Products with `input_levels` of images up to 2, and all their partial sums, are then multiples of one power of two that float32 holds.
    So the quantiser behind them sees the same values in whatever order, processor or tile they are added. A weight changes by at most 0.2 %
    where a channel's weights add up to 4.
    """
    largest = float((2 * weight.detach().abs().flatten(1).sum(1) + bias.detach().abs()).max())
    unit = 2.0 ** (math.ceil(math.log2(max(largest, 1e-8))) - 24)
    return (weight / (unit * INPUT_LEVELS)).round() * (unit * INPUT_LEVELS), (bias / unit).round() * unit


def hwgq(x: Tensor, bits: int) -> Tensor:
    """Half-wave Gaussian quantisation of ``max(x, 0)`` with its fixed step."""
    step = HWGQ_STEPS[bits] if bits in HWGQ_STEPS else HWGQ_STEPS[8] * 2.0 ** (8 - bits)
    return step * rounded(x.clamp(0, step * (2**bits - 1)) / step)


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """A tensor whose gradient is multiplied by a factor."""
    return x * factor + (x * (1 - factor)).detach()


class LearnedStep(nn.Module):
    """Uniform quantiser of ``2**bits`` levels whose step is learned (LSQ, Esser et al. 2020, Equations 1 to 5).

    Signed levels, for weights, begin at ``-2**(bits - 1)``; others begin at 0 and are moved by a zero point. There are as many steps as
    ``channels``, one for each first index of the tensor, or one for all of it.
    """

    zero: Tensor

    def __init__(self, bits: int, *, signed: bool, channels: int = 1) -> None:
        super().__init__()
        self.bits, self.signed, self.channels = bits, signed, channels
        self.low = -(2 ** (bits - 1)) if signed else 0
        self.high = self.low + 2**bits - 1
        self.log_step = nn.Parameter(torch.zeros(channels))
        self.register_buffer("zero", torch.zeros(()))

    @property
    def step(self) -> Tensor:
        """Steps, ``(channels,)``, positive."""
        return self.log_step.exp()

    @torch.no_grad()
    def start_from_mean(self, x: Tensor) -> None:
        """LSQ's start: ``2 mean|x| / sqrt(high)``."""
        mean = x.abs().flatten(1).mean(1) if self.channels > 1 else x.abs().mean()[None]
        self.log_step.copy_((2 * mean / math.sqrt(self.high)).clamp_min(1e-8).log())

    @torch.no_grad()
    def start_from_range(self, least: Tensor, most: Tensor) -> None:
        """Cover a range with ends ``(channels,)``, or scalars; 0 is always a level, as padding needs it."""
        if self.signed:
            largest = torch.maximum(-least, most)
            self.log_step.copy_((largest / self.high).clamp_min(1e-8).log().expand(self.channels))
            return
        least, most = least.clamp_max(0), most.clamp_min(0)
        step = ((most - least) / self.high).clamp_min(1e-8)
        self.log_step.copy_(step.log().expand(1))
        self.zero.copy_((-least / step).round().clamp(self.low, self.high))

    def forward(self, x: Tensor) -> Tensor:
        """The nearest level of each element; gradients of elements and steps as in LSQ, in evaluation to the last bit what kernels give."""
        if not self.training:
            return (self.levels(x) - self.zero) * self._along(x, self.step)
        elements = x.numel() / self.channels
        step = self._along(x, scaled_gradient(self.step, 1 / math.sqrt(elements * self.high)))
        return (rounded((x / step + self.zero).clamp(self.low, self.high)) - self.zero) * step

    def levels(self, x: Tensor) -> Tensor:
        """Whole numbers of the nearest levels."""
        return (x / self._along(x, self.step)).round().add(self.zero).clamp(self.low, self.high)

    def _along(self, x: Tensor, step: Tensor) -> Tensor:
        """Steps that follow a tensor's first index."""
        return step.view(-1, *[1] * (x.ndim - 1)) if self.channels > 1 else step


def cover(quantiser: LearnedStep, limits: tuple[Tensor, Tensor]) -> None:
    """Set the step of an activation's quantiser by its range: all of it with 8 bits, the inner part with fewer."""
    quantiser.start_from_range(*(part_of(quantiser.bits) * limit for limit in limits))
