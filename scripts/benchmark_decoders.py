"""Compare decoder designs: time of one pass with its gradient, and rate and distortion after the same training.

    python scripts/benchmark_decoders.py --data DATA_FOLDER --work RUN_FOLDER [--steps 800]

The designs are those of scripts/designs/decoders.toml, all trained for the same number of steps on the same crops; what counts for
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

import torch

from imaging.priors import LatentPrior, load_prior
from imaging.priors.families import make_prior
from imaging.priors.losses import validate
from imaging.priors.training import Trainer
from imaging.releases import Table
from imaging.training import CropSampler, TrainingSettings, find_images, statistics_batch, validation_images


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


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="training steps of each design, instead of the file's")
    parser.add_argument("--priors", nargs="*", default=[], help="released priors to time beside the designs")
    arguments = parser.parse_args()
    recipe = Table.parse((Path(__file__).parent / "designs" / "decoders.toml").read_text(encoding="utf-8"))
    plan, settings = recipe.values, recipe.under("training").make(TrainingSettings)
    if arguments.steps:
        settings = dataclasses.replace(settings, steps=arguments.steps)
    images = find_images([arguments.data], plan["data"]["train"])
    validation = validation_images(find_images([arguments.data], plan["data"]["validation"])[: plan["data"]["validation_count"]], 1)
    rows = []
    for design in plan["designs"]:
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
        rows.append((design, trainer.elapsed / trainer.step, validate(model.eval(), validation), model))
    print(f"\n| design | decoder pass and gradient, 512 x 512, {torch.get_num_threads()} threads (s) | seconds a training step "
          "| bits per pixel | PSNR (dB) | objective |")  # fmt: skip
    print("|---" * 6 + "|")
    for design, pace, figures, model in rows:
        print(f"| {design['name']}: {design['about']} | {seconds(model):.3f} | {pace:.2f} | {figures['bits']:.3f} | {figures['psnr']:.2f} "
              f"| {figures['objective']:.3f} |")  # fmt: skip
    for name in arguments.priors:
        print(f"| released prior {name} | {seconds(load_prior(name)):.3f} | | | | |")


if __name__ == "__main__":
    main()
