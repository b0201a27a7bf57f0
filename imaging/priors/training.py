"""Training of a latent prior: rate-distortion first, then the decoder of standard deviations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.priors.base import LatentPrior
from imaging.priors.losses import random_widths, rate_distortion, std_loss, validate
from imaging.priors.pictures import write_comparison
from imaging.releases import full_precision
from imaging.training import CropSampler, InterruptibleTraining, TrainingSettings

_MAKERS = 3
"""Processes that make batches for a GPU."""


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 autocast; training and fits keep rates and the linear transform in float32 themselves."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


class Trainer(InterruptibleTraining):
    """Trains a prior in place on the crops of a sampler.

    ``validation`` has ``(N, C, H, W)`` images for the validation curve. The folder receives ``checkpoint.pt``, ``log.csv`` and
    ``samples.png`` (validation images, decoded, and the decoder's deviation). If ``compiled``, the networks go through ``torch.compile``.
    """

    model: LatentPrior

    def __init__(
        self, model: LatentPrior, sampler: CropSampler, validation: Tensor, settings: TrainingSettings, folder: Path,
        device: torch.device | None = None, compiled: bool = False,
    ) -> None:  # fmt: skip
        device = device or torch.device("cpu")
        full_precision(device)
        super().__init__(model, settings, sampler, folder, device, 0 if device.type == "cpu" else _MAKERS)
        self.sampler, self.validation, self.std_stage = sampler, validation, False
        self.rate_distortion = torch.compile(rate_distortion) if compiled else rate_distortion
        spread = [] if model.std_decoder is None else list(model.std_decoder.parameters())
        slow = model.slow_parameters()
        held = {id(p) for p in [*slow, *spread]}
        fast = [p for n, p in model.named_parameters() if id(p) not in held and not n.endswith("quantiles")]
        self._train((fast, 1.0), (slow, 0.1))

    def _train(self, *groups: tuple[list[torch.nn.Parameter], float]) -> None:
        """Train some weights with factors on the learning rate."""
        found = [{"params": p, "factor": f} for p, f in groups if p]
        self.optimizers = [torch.optim.Adam(found, self.settings.learning_rate)]
        self.parameters = [p for parameters, _ in groups for p in parameters]

    def _train_std_alone(self) -> None:
        self.std_stage = True
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith("std_decoder"))
        assert self.model.std_decoder is not None
        self._train((list(self.model.std_decoder.parameters()), 2.5))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state["std_stage"]:
            self._train_std_alone()
        super().restore(state)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return super().state() | {"std_stage": self.std_stage}

    @property
    def _split(self) -> float:
        """Progress at which the decoder of standard deviations takes over."""
        return 1.0 if self.model.std_decoder is None else 1 - self.settings.std_share

    def decline(self) -> float:
        """Half a cosine over each stage."""
        split = self._split
        within = (self.progress - split) / self.settings.std_share if self.std_stage else self.progress / split
        return 0.5 * (1 + math.cos(math.pi * min(1.0, within))) + 0.005

    def update(self, batch: Tensor) -> dict[str, Tensor]:
        """One step."""
        if not self.std_stage and self.progress >= self._split:
            self.model.load_state_dict(self.average)
            self._train_std_alone()
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)  # what a step draws does not depend on interruptions
        with autocast(self.device):
            if self.std_stage:
                loss = std_loss(self.model, batch)
            else:
                error, bits = self.rate_distortion(self.model, batch, random_widths(self.model, len(batch), self.settings.narrowest))
                loss = self.model.objective(error, bits)
        self.descend(loss)
        return {"loss": loss.detach()}

    def evaluate(self) -> dict[str, float]:
        """PSNR, bits and objective, the objective at half the light, and the likelihood of deviations."""
        torch.manual_seed(1)
        with autocast(self.device):
            images = self.validation.to(self.device)
            figures = validate(self.model, images)
            figures["objective_half"] = validate(self.model, images, 0.5)["objective"]
            figures["std_nll"] = float(torch.stack([std_loss(self.model, x).detach() for x in images.split(4)]).mean())
            write_comparison(self.model, images[:4], self.folder / "samples.png")
        return figures
