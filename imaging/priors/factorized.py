"""The fully factorised density of hyper-latents, a small network for each channel's cumulative."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (1, 3, 3, 3, 3, 1)
"""Values after each layer of a channel's network."""
_INITIAL_SCALE = 10.0
"""Spread of the densities before training, latents."""
_CODING = ("_offset", "_quantized_cdf", "_cdf_length", "target", "likelihood_lower_bound.bound")
"""Buffers of an entropy coder, which state dicts of compressai hold and a density does not need."""


class FactorizedDensity(nn.Module):
    """Independent densities of the channels, each the slope of a learned, increasing function (Balle et al. 2018, appendix 6.1).

    The logit of a channel's cumulative is a chain of layers ``x -> g(H x + b)`` whose matrices are positive, ``H = softplus(matrices)``,
    with ``g(x) = x + tanh(factors) tanh(x)`` after all but the last, so that it increases. State dicts of compressai's
    ``EntropyBottleneck`` load as they are; `quantiles`, by which that codes, are kept for them and have no part in the density.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.quantiles = nn.Parameter(torch.tensor([-_INITIAL_SCALE, 0.0, _INITIAL_SCALE]).repeat(channels, 1, 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        steps = list(pairwise(_WIDTHS))
        slope = _INITIAL_SCALE ** (-1 / len(steps))  # of each layer, so that the chain divides by the spread
        for k, (inputs, outputs) in enumerate(steps):
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), math.log(math.expm1(slope / outputs)))))
            self.biases.append(nn.Parameter(torch.rand(channels, outputs, 1) - 0.5))
            if k + 1 < len(steps):
                self.factors.append(nn.Parameter(torch.zeros(channels, outputs, 1)))
        self.register_load_state_dict_pre_hook(_without_coding)  # type: ignore[no-untyped-call]

    def logits(self, h: Tensor) -> Tensor:
        """Logits of the cumulatives at ``(C, 1, N)`` values."""
        found = h
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            found = F.softplus(matrix) @ found + bias
            if k < len(self.factors):
                found = found + torch.tanh(self.factors[k]) * torch.tanh(found)
        return found


def _without_coding(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in _CODING:
        state.pop(prefix + name, None)
