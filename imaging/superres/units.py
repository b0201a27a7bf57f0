"""A convolution of a network in its three states: with normalisation and gain, folded, with quantisers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.superres.blueprint import Blueprint, Node
from imaging.superres.operations import gain_of
from imaging.superres.quantizers import LearnedStep, cover, exactly_summed, input_levels

MOMENTUM = 0.01


class RunningGain(nn.Module):
    """Scale by a function of the running standard deviation of the cell's input: what ADQ and AdaDM do, without looking at the tile."""

    std: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("std", torch.ones(()))
        self.slope = nn.Parameter(torch.tensor(1.5 if kind == "adq" else 1.0))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The scale, after a look at the input in training."""
        if self.training:
            with torch.no_grad():
                self.std.lerp_(x.float().std((1, 2, 3)).mean(), MOMENTUM)
        return self.value()

    def value(self) -> Tensor:
        """The scale."""
        return gain_of(self.kind, self.std, self.slope, self.offset)


class Unit(nn.Module):
    """A convolution of a blueprint with what belongs to it: normalisation and gain until they are folded, quantisers afterwards."""

    mask: Tensor

    def __init__(self, node: Node, plan: Blueprint) -> None:
        super().__init__()
        self.node = node
        pads = (node.kernel[0] // 2, node.kernel[1] // 2)
        self.conv = nn.Conv2d(node.cin, node.cout, node.kernel, padding=pads, groups=node.groups)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu" if node.relu else "linear")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        if node.taps < 1:
            self.register_buffer("mask", deconvolution_mask(node.kernel[0], plan.scale).repeat(plan.bands, 1, 1, 1))
        self.norm = nn.BatchNorm2d(node.cout) if node.norm else None
        self.gain = RunningGain(plan.normalisation) if node.gain else None
        self.of_weight: LearnedStep | None = None
        self.of_input: LearnedStep | None = None
        self.exact = False

    def taps(self) -> Tensor:
        """Weights in float, 0 outside the free taps."""
        return self.conv.weight * self.mask if self.node.taps < 1 else self.conv.weight

    def weight(self) -> Tensor:
        """Weights, quantised where they have a quantiser."""
        return self.taps() if self.of_weight is None else self.of_weight(self.taps())

    def forward(self, x: Tensor, gained: Tensor | None, given: LearnedStep | None = None, made: LearnedStep | None = None) -> Tensor:
        """Apply; ``gained`` is the input of the cell, for the gain, ``given`` and ``made`` are the quantisers of input and output."""
        if self.of_input is not None:
            x, given = self.of_input(x), self.of_input
        if self.of_weight is not None and given is not None and not self.training:
            return self._in_whole_numbers(x, given, self.of_weight, made)
        weight, bias = self.weight(), self.conv.bias
        if self.exact and not self.training:
            x, (weight, bias) = input_levels(x), self.exact_taps()
        x = F.conv2d(x, weight, bias, padding=self.conv.padding, groups=self.node.groups)
        if self.norm is not None:
            x = self.norm(x)
        if self.gain is not None and gained is not None:
            x = x * self.gain(gained)
        return x

    def _in_whole_numbers(self, x: Tensor, given: LearnedStep, of_weight: LearnedStep, made: LearnedStep | None) -> Tensor:
        """The convolution as integer kernels do it: sums of whole numbers, which float32 holds exactly in whatever order they are added.

        In float the order would decide where a sum beside a rounding tie goes, and later layers multiply such differences. For the same
        reason the sums become levels of the output by one factor, as in the kernels, not by one step after the other.
        """
        joint = given.step * of_weight.step
        whole = F.conv2d(
            (x / given.step).round(), of_weight.levels(self.taps()), self.whole_bias(given, of_weight).float(), padding=self.conv.padding,
            groups=self.node.groups,
        )  # fmt: skip
        if made is None:
            return whole * joint.view(-1, 1, 1)
        levels = (whole * (joint / made.step).view(-1, 1, 1)).round().clamp(made.low - made.zero, made.high - made.zero)
        return levels * made.step

    def exact_taps(self) -> tuple[Tensor, Tensor]:
        """Weights and bias of the first layer of a quantised network, in float, whose sums are exact."""
        assert self.conv.bias is not None
        return exactly_summed(self.taps(), self.conv.bias)

    def whole_bias(self, given: LearnedStep, of_weight: LearnedStep) -> Tensor:
        """The bias in units of the sums, whole numbers in float64."""
        assert self.conv.bias is not None
        return (self.conv.bias.double() / (given.step.double() * of_weight.step.double())).round().clamp(-(2**31), 2**31 - 1)

    @torch.no_grad()
    def fold(self) -> None:
        """Put normalisation and gain into the weights."""
        bias = self.conv.bias
        assert bias is not None
        if self.norm is not None:
            variance, mean = self.norm.running_var, self.norm.running_mean
            assert variance is not None
            assert mean is not None
            factor = self.norm.weight / (variance + self.norm.eps).sqrt()
            self.conv.weight.mul_(factor.view(-1, 1, 1, 1))
            bias.copy_((bias - mean) * factor + self.norm.bias)
            self.norm = None
        if self.gain is not None:
            value = self.gain.value()
            self.conv.weight.mul_(value)
            bias.mul_(value)
            self.gain = None

    def attach_quantisers(self, given: int) -> None:
        """Attach a quantiser of the weights and, where the input has more bits, which are ``given``, one of the input."""
        device, bits = self.conv.weight.device, self.node.bits
        self.of_weight = LearnedStep(bits, signed=True, channels=self.node.cout).to(device)
        if bits < given:
            self.of_input = LearnedStep(bits, signed=False).to(device)

    def start_quantisers(self, given: tuple[Tensor, Tensor] | None) -> None:
        """Set the steps by the weights, and by the range of the input."""
        weight = self.conv.weight.detach()
        if self.of_weight is not None and self.node.bits == 8:
            self.of_weight.start_from_range(weight.flatten(1).amin(1), weight.flatten(1).amax(1))
        elif self.of_weight is not None:
            self.of_weight.start_from_mean(weight)
        if self.of_input is not None and given is not None:
            cover(self.of_input, given)


def deconvolution_mask(side: int, scale: int) -> Tensor:
    """Taps ``(scale**2, 1, side, side)`` of the convolution that a 9 x 9 deconvolution equals: 81 of them are 1."""
    centre = (scale - 1) / 2
    offsets = torch.arange(side) - side // 2
    near = torch.stack([(scale * offsets + centre - p - (0 if scale % 2 else 0.5)).abs() <= 4 for p in range(scale)]).float()
    return (near[:, None, :, None] * near[None, :, None, :]).reshape(scale**2, 1, side, side)
