"""Small problems of bilevel learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imaging.bilevel import Differences, FieldOfExperts, Regularizer, RidgeRegularizer, TotalVariation


class Quadratic(Regularizer):
    """``exp(theta) / 2`` times the squared differences: minimisers have a closed form."""

    size = 1

    def __init__(self) -> None:
        super().__init__()
        self.analysis = Differences()

    def start(self) -> Tensor:
        """Weight 1."""
        return torch.zeros(1)

    def energy(self, x: Tensor, theta: Tensor) -> Tensor:
        """Energy of each image."""
        return 0.5 * theta[0].exp() * self.analysis.forward(x).square().sum((1, 2, 3))

    def grad(self, x: Tensor, theta: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient."""
        return theta[0].exp() * self.analysis.adjoint(self.analysis.forward(x), x.shape)

    def hessian(self, x: Tensor, v: Tensor, theta: Tensor) -> Tensor:
        """The gradient is linear."""
        return self.grad(v, theta)

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Of the one parameter."""
        return (self.grad(x, theta) * q).sum().reshape(1)

    def curvature(self, theta: Tensor) -> float:
        """Eight times the weight."""
        return 8 * float(theta[0].exp())

    @staticmethod
    def minimiser(y: Tensor, theta: Tensor) -> Tensor:
        """Solution of the normal equations, in the cosine transform that the differences' border has."""
        from scipy.fft import dctn, idctn

        eigen = [2 - 2 * torch.cos(torch.pi * torch.arange(n, dtype=y.dtype) / n) for n in y.shape[-2:]]
        spectrum = torch.from_numpy(dctn(y.numpy(), axes=(2, 3), norm="ortho"))
        damped = spectrum / (1 + theta[0].exp() * (eigen[0][:, None] + eigen[1]))
        return torch.from_numpy(idctn(damped.numpy(), axes=(2, 3), norm="ortho"))


def regularizers() -> dict[str, tuple[Regularizer, Tensor]]:
    """Each regulariser with parameters to try it at."""
    generator = torch.Generator().manual_seed(1)
    found: dict[str, tuple[Regularizer, Tensor]] = {
        "tv": (TotalVariation(), torch.tensor([-2.0, -2.5])),
        "tv anisotropic": (TotalVariation(isotropic=False), torch.tensor([-2.0, -2.5])),
    }
    for border in ("valid", "zero", "replicate", "reflect", "circular"):
        foe = FieldOfExperts(5, 5, border=border)
        found[f"foe {border}"] = (foe, foe.start(2, -1.5, -2.0) + 0.2 * torch.randn(foe.size, generator=generator))
    colour = FieldOfExperts(3, 3, channels=3)
    found["foe colour"] = (colour, colour.start(3, -1.0, -2.0))
    for name, weak in (("crr", 0.0), ("wcrr", 0.9)):
        ridge = RidgeRegularizer(weak, widths=(3, 6), kernel=3, nodes=12, reach=2.0)
        ridge.noise = 15 / 255
        found[name] = (ridge, ridge.start(4) + 0.2 * torch.randn(ridge.size, generator=generator))
    return {name: (r, theta.double()) for name, (r, theta) in found.items()}


def images(count: int, side: int, seed: int = 0, channels: int = 1) -> Tensor:
    """Smooth random images in [0, 1], float64."""
    noise = torch.randn(count, channels, side + 8, side + 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(noise, 5, 1), 5, 1)
    return torch.sigmoid(8 * smooth)
