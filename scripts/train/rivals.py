"""Train the networks that the benchmark compares with; interrupt and run the same command again to resume.

    python -m scripts.train.rivals denoiser|inversion --data DATA_FOLDER --work RUN_FOLDER [--steps 16000] [--release]

Images, symmetries, mixtures and gains are those of the prior `pan`, loss is the squared error, so that both estimate posterior means. The
denoiser sees white noise of deviations from 0.002 to 1.5 of full scale, log-uniform, its loss relative to the deviation to the power 1.3,
about as the error goes; the inversion sees the sensor "raw" of the benchmarks. --release writes float16 weights into
scripts/rivals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from deepinv.physics import BlurFFT
from safetensors.torch import save_file
from torch import Tensor

from imaging.sensors import SignalDependentNoise, sensor_physics
from imaging.training import CropSampler, InterruptibleTraining, TrainingSettings, find_images, validation_images
from scripts.command import ROOT, command, read_table
from scripts.rivals.networks import HIGHEST, LOWEST, WEIGHTS, UNet
from scripts.scenes import FULL
from scripts.sensors import RAW, sensor
from scripts.split import applied
from scripts.train.common import carried_on

SETTINGS = TrainingSettings(batch=12, crop=96, gain=(0.15, 1.2), exponent=(0.7, 1.8), shrink=0.3, learning_rate=1e-3, warmup=300)
POWER = 1.3
EDGE = 12  # pixels in which a circular blur sees the other side
Loss = Callable[[UNet, Tensor], Tensor]


def denoising() -> tuple[UNet, Loss]:
    """Network and loss of the denoiser."""

    def loss(network: UNet, x: Tensor) -> Tensor:
        low, high = math.log(LOWEST), math.log(HIGHEST)
        sigma = torch.exp(low + (high - low) * torch.rand(len(x), 1, 1, 1))
        found = network(torch.cat([x + sigma * torch.randn_like(x), sigma.expand_as(x)], 1))
        value: Tensor = ((found - x).square() / sigma**POWER).mean()
        return value

    return UNet(2, bias=False), loss


def inverting() -> tuple[UNet, Loss]:
    """Network and loss of the direct inversion."""
    physics = sensor_physics(sensor(*RAW).bands, FULL)
    noise = physics.noise_model
    blur = BlurFFT((1, SETTINGS.crop, SETTINGS.crop), physics.psf)
    inner = (..., slice(EDGE, -EDGE), slice(EDGE, -EDGE))

    def loss(network: UNet, x: Tensor) -> Tensor:
        clean = blur.A(x) if x.shape[-1] == SETTINGS.crop else BlurFFT((1, *x.shape[2:]), physics.psf).A(x)
        y = SignalDependentNoise(noise.sigma0.flatten(), noise.gain.flatten())(clean)
        value: Tensor = 1e3 * (network(y) - x)[inner].square().mean()
        return value

    return UNet(1, bias=True), loss


class Trainer(InterruptibleTraining):
    """A network with a loss of its own, on the crops of a sampler."""

    model: UNet

    def __init__(self, network: UNet, loss: Loss, sampler: CropSampler, validation: Tensor, folder: Path, steps: int) -> None:
        super().__init__(network, replace(SETTINGS, steps=steps), sampler, folder, torch.device("cpu"), 0)
        self.loss, self.validation, self.parameters = loss, validation, list(network.parameters())
        self.optimizers = [torch.optim.Adam([{"params": self.parameters, "factor": 1.0}])]

    def decline(self) -> float:
        """A cosine that does not end at nothing."""
        return 0.502 + 0.5 * math.cos(math.pi * self.progress)

    def update(self, batch: Tensor) -> dict[str, Tensor]:
        """One step of Adam under a cosine schedule."""
        torch.manual_seed(self.step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = self.loss(self.model, batch)
        self.descend(value)
        return {"loss": value.detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean loss on the validation crops."""
        torch.manual_seed(1)
        return {"validation": float(torch.stack([self.loss(self.model, x) for x in self.validation.split(4)]).mean())}


def main() -> None:
    """Train, report, release."""
    parser = command(__doc__)
    parser.add_argument("network", choices=("denoiser", "inversion"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--release", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, loss = denoising() if arguments.network == "denoiser" else inverting()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = applied(read_table(ROOT / "models" / "pan" / "recipe.toml").under("data").values, [arguments.data])
    sampler = CropSampler(find_images([arguments.data], data["train"]), SETTINGS)
    validation = validation_images(find_images([arguments.data], data["validation"])[: data["validation_count"]], 1)
    trainer = Trainer(network, loss, sampler, validation, arguments.work, arguments.steps)
    carried_on(trainer, 120)
    if arguments.release:
        save_file({k: v.half().contiguous() for k, v in trainer.average.items()}, WEIGHTS / f"{arguments.network}.safetensors")


if __name__ == "__main__":
    main()
