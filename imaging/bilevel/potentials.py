"""Potentials: what a regulariser charges for a response."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Slopes(NamedTuple):
    """First and second derivative of a potential, and the derivative of the first one with respect to the logarithm of its smoothing."""

    first: Tensor
    second: Tensor
    smoothing: Tensor


def smoothed_absolute(t: Tensor, smoothing: Tensor) -> Tensor:
    r"""Smoothed absolute value :math:`\sqrt{t^2 + \nu^2} - \nu`, zero at zero; ``smoothing`` is broadcast."""
    return t.square() / (torch.sqrt(t.square() + smoothing.square()) + smoothing)  # no difference of nearly equal numbers


def slopes(t: Tensor, smoothing: Tensor) -> Slopes:
    r"""Derivatives of `smoothed_absolute`: the second one is at most :math:`1 / \nu`."""
    root = torch.sqrt(t.square() + smoothing.square())
    second = smoothing.square() / root**3
    return Slopes(t / root, second, -t * second)
