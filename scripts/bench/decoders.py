"""Compare decoder designs: time of one pass with its gradient, and rate and distortion after the same training.

    python -m scripts.bench decoders --data DATA_FOLDER --work RUN_FOLDER [--steps 800]

The designs are those of scripts/bench/decoders.toml, all trained for the same number of steps on the same crops; what counts for
a fit is quality for the time of an iteration. An interrupted run resumes; finished designs are not trained again. Released priors may
be timed beside them: --priors pan.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from imaging.priors import LatentPrior, load_prior
from imaging.priors.families import make_prior
from imaging.priors.losses import validate
from imaging.priors.training import Trainer
from imaging.training import CropSampler, TrainingSettings, find_images, statistics_batch, validation_images
from scripts.bench.results import Results
from scripts.bench.tables import Record, one_table
from scripts.command import read_table
from scripts.split import applied

OPTIONS = {
    "--data": {}, "--work": {"required": True}, "--steps": {"type": int, "help": "training steps of each design, instead of the file's"},
    "--priors": {"nargs": "*", "default": [], "help": "released priors to time beside the designs"},
}  # fmt: skip


def seconds(model: LatentPrior, side: int = 512, repetitions: int = 7) -> float:
    """Least time of one decoder pass and its gradient with respect to the latents, float32, one image."""
    model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    z = model.encode(torch.rand(1, model.channels, side, side)).z.detach().requires_grad_()
    best = math.inf
    for _ in range(repetitions):
        began = time.perf_counter()
        torch.autograd.grad(model.decode(z).square().sum(), z)
        best = min(best, time.perf_counter() - began)
    return best


def run(arguments: argparse.Namespace, results: Results) -> None:
    """Train and time what is not there yet."""
    recipe = read_table(Path(__file__).with_name("decoders.toml"))
    plan, settings = recipe.values, recipe.under("training").make(TrainingSettings)
    if arguments.steps:
        settings = dataclasses.replace(settings, steps=arguments.steps)
    data = applied(plan["data"], [arguments.data])
    images = find_images([arguments.data], data["train"])
    validation = validation_images(find_images([arguments.data], data["validation"])[: data["validation_count"]], 1)

    def trained(design: dict[str, Any]) -> Record:
        torch.manual_seed(settings.seed)
        model = make_prior(design["family"], design["model"])
        sampler = CropSampler(images, settings)
        model.set_statistics(statistics_batch(sampler))
        trainer = Trainer(model, sampler, validation, settings, arguments.work / design["name"].replace(" ", "-"))
        trainer.resume()
        for _ in trainer.run(partial(print, design["name"], flush=True)):
            pass
        model.load_state_dict(trainer.average)
        torch.manual_seed(1)
        figures = validate(model.eval(), validation)
        pace = trainer.elapsed / trainer.step
        return {"seconds": seconds(model), "pace": pace} | {k: figures[k] for k in ("bits", "psnr", "objective")}

    for design in plan["designs"]:
        results.once({"design": f"{design['name']}: {design['about']}"}, trained, design)
    for name in arguments.priors:
        results.once({"design": f"released prior {name}"}, lambda n=name: {"seconds": seconds(load_prior(n))})


tables = one_table({"design": "design"}, {
    "seconds": ("decoder pass and gradient, 512 x 512 (s)", ".3f"), "pace": ("seconds a training step", ".2f"),
    "bits": ("bits per pixel", ".3f"), "psnr": ("PSNR (dB)", ".2f"), "objective": ("objective", ".3f"),
})  # fmt: skip
