"""Train the networks that the benchmark compares with; interrupt and run the same command again to resume.

    python scripts/train_rivals.py denoiser|inversion --data DATA_FOLDER --work RUN_FOLDER [--steps 16000] [--release]

Images, symmetries, mixtures and gains are those of the prior `pan`, loss is the squared error, so that both estimate posterior means. The
denoiser sees white noise of deviations from 0.002 to 1.5 of full scale, log-uniform, its loss relative to the deviation to the power 1.3,
about as the error goes; the inversion sees the sensor "raw" of scripts/benchmark_restoration.py. --release writes float16 weights into
scripts/rivals.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from benchmark_restoration import FULL, SENSORS, sensor
from deepinv.physics import BlurFFT
from learned import HIGHEST, LOWEST, WEIGHTS, UNet
from safetensors.torch import save_file
from torch import Tensor

from imaging.releases import read_recipe
from imaging.sensors import SignalDependentNoise, sensor_physics
from imaging.training import CropSampler, TrainingSettings, find_images, validation_images

RECIPE = Path(__file__).parents[1] / "models" / "pan" / "recipe.toml"
SETTINGS = TrainingSettings(batch=12, crop=96, gain=(0.15, 1.2), exponent=(0.7, 1.8), shrink=0.3, learning_rate=1e-3, warmup=300)
POWER = 1.3
EDGE = 12  # pixels in which a circular blur sees the other side
Case = tuple[UNet, Callable[[UNet, Tensor], Tensor]]


def denoising() -> Case:
    """Network and loss of the denoiser."""

    def loss(network: UNet, x: Tensor) -> Tensor:
        low, high = math.log(LOWEST), math.log(HIGHEST)
        sigma = torch.exp(low + (high - low) * torch.rand(len(x), 1, 1, 1))
        found = network(torch.cat([x + sigma * torch.randn_like(x), sigma.expand_as(x)], 1))
        return ((found - x).square() / sigma**POWER).mean()

    return UNet(2, bias=False), loss


def inverting() -> Case:
    """Network and loss of the direct inversion."""
    physics = sensor_physics(sensor(*SENSORS["raw (MTF 0.15, SNR 90)"]).bands, FULL)
    noise = physics.noise_model
    blur = BlurFFT((1, SETTINGS.crop, SETTINGS.crop), physics.psf)
    inner = (..., slice(EDGE, -EDGE), slice(EDGE, -EDGE))

    def loss(network: UNet, x: Tensor) -> Tensor:
        clean = blur.A(x) if x.shape[-1] == SETTINGS.crop else BlurFFT((1, *x.shape[2:]), physics.psf).A(x)
        y = SignalDependentNoise(noise.sigma0.flatten(), noise.gain.flatten())(clean)
        return 1e3 * (network(y) - x)[inner].square().mean()

    return UNet(1, bias=True), loss


def main() -> None:
    """Train, report, release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("denoiser", "inversion"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--release", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, loss = denoising() if arguments.network == "denoiser" else inverting()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = read_recipe(RECIPE.parent).under("data").values
    sampler = CropSampler(find_images([arguments.data], data["train"]), SETTINGS)
    validation = validation_images(find_images([arguments.data], data["validation"])[: data["validation_count"]], 1)
    optimizer = torch.optim.Adam(network.parameters())
    average = {k: v.clone() for k, v in network.state_dict().items()}
    checkpoint, first = arguments.work / "checkpoint.pt", 0
    arguments.work.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average, first = state["average"], state["step"]

    def evaluate() -> float:
        kept = {k: v.clone() for k, v in network.state_dict().items()}
        network.load_state_dict(average)
        torch.manual_seed(1)
        with torch.no_grad():
            found = float(torch.stack([loss(network, x) for x in validation.split(4)]).mean())
        network.load_state_dict(kept)
        return found

    for step in range(first, arguments.steps):
        x = sampler.batch(np.random.default_rng([SETTINGS.seed, step]))
        torch.manual_seed(step)
        rate = SETTINGS.learning_rate * min(1.0, (step + 1) / SETTINGS.warmup)
        optimizer.param_groups[0]["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / arguments.steps) + 0.002)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(network, x)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay = min(SETTINGS.average, (1 + step) / (10 + step))
        for k, v in network.state_dict().items():
            average[k].lerp_(v, 1 - decay)
        if (step + 1) % 500 == 0 or step + 1 == arguments.steps:
            print(step + 1, f"{evaluate():.5f}", flush=True)
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
    if arguments.release:
        WEIGHTS.mkdir(exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in average.items()}, WEIGHTS / f"{arguments.network}.safetensors")


if __name__ == "__main__":
    main()
