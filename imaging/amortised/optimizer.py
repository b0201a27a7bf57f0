"""Steps of a training: orthogonalised ones for the convolutions' matrices, Adam's for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix with singular values near 1 and the singular vectors of the given one, by a Newton-Schulz iteration of degree five."""
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.mT).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = (x if wide else x.mT).to(matrix.dtype)
    return found


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised, for the weights of convolutions as matrices (output channels by the rest).

    From K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024, with Nesterov's momentum. Parameters have at
    least two dimensions. The root mean square of a step's entries is 0.2 times the learning rate, as of Adam's.
    """

    def __init__(self, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                held = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                matrix = parameter.grad.add(held, alpha=group["momentum"]).flatten(1)
                step = orthogonalised(matrix) * (0.2 * max(matrix.shape) ** 0.5)
                parameter.add_(step.reshape(parameter.shape), alpha=-group["lr"])
