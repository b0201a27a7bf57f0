"""Train a released prior's decoder of deviations on what posteriors leave: the errors that the latents' own spread does not explain.

    python -m scripts.train.deviation models/pan --data DATA_FOLDER --work RUN_FOLDER [--fits 256] [--steps 3000] [--release models/pan]

Trained with the rest of the network, such a decoder says how far an image lies from the decoding of its latents with their quantisation
noise, which the posterior of the latents counts as well: a sum of both is too wide. Here random crops of all training images of enough
bands, also of those that the network was not trained on, as its own leave smaller errors, are measured by random sensors, posteriors of
their latents are fitted to them, and the decoder learns the variance that is missing, the Gaussian likelihood of the true scene about the
posterior mean under the variance of decoded latents, of the lattices' disagreement and the optimal image-space part
(`LatentPosterior.image_factor`). Beyond three deviations the likelihood has exponential tails, so that single places do not decide.
Nothing but the decoder of deviations changes. Fits are kept in the work folder; the same command goes on where it was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from imaging.amortised.sensors import SensorRanges, margin_of, measure
from imaging.posterior import VBLE, FitSettings, LatentPosterior, PosteriorMixture, load_posterior, save_posterior
from imaging.priors import LatentPrior, load_prior
from imaging.priors.zoo import save_prior
from imaging.training import CropSampler, TrainingSettings
from scripts.command import command, read_table, save_checkpoint
from scripts.split import for_training

BATCH, CROP, SCORED = 4, 160, 8
RANGES = SensorRanges(
    nyquist=(0.07, 0.6), snr=(15.0, 250.0), shapes=(0.6, 0.1, 0.15, 0.15, 0.0), level_spread=0.0, holes=0.0, saturated=0.0
)
DOUBLE = 0.15
"""Share of fits at twice the measurement's grid."""
CROPS = TrainingSettings(batch=BATCH, crop=CROP, gain=(0.15, 1.2), exponent=(0.7, 1.8), haze=0.5, shrink=0.6)
TAIL = 3.0
_LEAST = 2.0**-25
"""Of uniform draws: at 0 a Gaussian latent would be infinite."""


@dataclass
class Leftover:
    """Fitted posteriors of one batch, and what is to be explained: squared errors and the variance that they have already.

    ``error`` and ``explained`` are ``(B, C, h, w)``, of the scored pixels, whose frame in the scene is ``inside``.
    """

    parts: tuple[LatentPosterior, ...]
    error: Tensor
    explained: Tensor
    inside: int

    def save(self, path: Path) -> None:
        """Keep it: the posterior in a file of its own, beside one of the rest, which is written last."""
        save_posterior(PosteriorMixture(self.parts), path.with_suffix(".safetensors"))
        save_checkpoint({"error": self.error, "explained": self.explained, "inside": self.inside}, path)

    @classmethod
    def load(cls, path: Path, prior: LatentPrior) -> Leftover:
        """What `save` kept."""
        posterior = cast(PosteriorMixture, load_posterior(path.with_suffix(".safetensors"), prior))
        return cls(posterior.parts, **torch.load(path, weights_only=True))


def measured_leftover(model: VBLE, sampler: CropSampler, k: int) -> Leftover:
    """Fit the k-th batch."""
    rng = np.random.default_rng([17, k])
    factor = 2 if rng.random() < DOUBLE else 1
    x = torch.stack([torch.from_numpy(sampler.crop(rng)) for _ in range(BATCH)])
    seen = measure(x, RANGES, rng, factor)
    margin = margin_of(factor)
    mixture = model.fit_mixture(seen.y, seen.physics, mask=seen.mask, level=seen.level, seed=k)
    latent = PosteriorMixture(tuple(replace(p, information=None) for p in mixture.parts))
    mean, std = latent.moments(model.settings.samples)
    inside = margin + SCORED
    scored = (..., slice(inside, -inside), slice(inside, -inside))
    truth = seen.truth[..., SCORED:-SCORED, SCORED:-SCORED]
    return Leftover(mixture.parts, mean[scored] - truth, std[scored].square(), inside)


def loss(prior: LatentPrior, found: Leftover, generator: torch.Generator) -> Tensor:
    """Negative log-likelihood of the errors, nats a pixel, for one draw of the latents of each lattice."""
    image = torch.zeros(())
    for p in found.parts:
        centre = p.family.centre
        z = p.family.draw(torch.rand(centre.shape, generator=generator).clamp(min=_LEAST) - 0.5)
        std = p.frame.crop(prior.decode_std(z)) / p.rate_scale
        variance = std.square() * p.weight / (p.weight + std.square() * cast(Tensor, p.information))
        image = image + variance[..., found.inside : -found.inside, found.inside : -found.inside] / len(found.parts)
    total = found.explained + image
    away = found.error.abs() / total.sqrt()
    return (torch.where(away <= TAIL, away.square() / 2, TAIL * away - TAIL**2 / 2) + total.log() / 2).mean()


def fits(model: VBLE, sampler: CropSampler, count: int, folder: Path) -> list[Leftover]:
    """Fit what is not in the folder yet, and load all."""
    found = []
    for k in tqdm(range(count), unit="fit", mininterval=30):
        path = folder / f"fit-{k}.pt"
        if not path.exists():
            measured_leftover(model, sampler, k).save(path)
        found.append(Leftover.load(path, model.prior))
    return found


def trained(prior: LatentPrior, found: list[Leftover], steps: int, rate: float) -> None:
    """Train the decoder of deviations on seven eighths of the fits, told on the others."""
    held, own = found[::8], [f for k, f in enumerate(found) if k % 8]
    parameters = list(cast(nn.Module, prior.std_decoder).parameters())
    for p in parameters:
        p.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=rate)
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    average = [p.detach().clone() for p in parameters]

    def told(step: int) -> None:
        kept = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, a in zip(parameters, average, strict=True):
                p.copy_(a)
            value = np.mean([float(loss(prior, f, torch.Generator().manual_seed(2))) for f in held])
            ratio = np.mean([float(f.error.square().mean() / f.explained.mean()) for f in held])
            for p, k in zip(parameters, kept, strict=True):
                p.copy_(k)
        print(
            f"step {step}: likelihood on held-out fits {value:.5f} nats, squared error over the latents' variance {ratio:.3f}", flush=True
        )

    for step in range(steps):
        if step % 250 == 0:
            told(step)
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / steps))
        value = loss(prior, own[int(rng.integers(len(own)))], generator)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            decay = min(0.995, (step + 1) / (step + 10))
            for a, p in zip(average, parameters, strict=True):
                a.lerp_(p, 1 - decay)
    with torch.no_grad():
        for p, a in zip(parameters, average, strict=True):
            p.copy_(a)
    told(steps)
    for p in parameters:
        p.requires_grad_(False)


def main() -> None:
    """Fit, train, release."""
    parser = command(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="the data folder, or packs")
    parser.add_argument("--work", type=Path, required=True, help="fits, and the trained weights")
    parser.add_argument("--fits", type=int, default=256, help="batches of four crops")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--release", type=Path, help="write the model into this folder when done")
    a = parser.parse_args()
    recipe, prior = read_table(a.model / "recipe.toml"), load_prior(str(a.model))
    sampler = CropSampler(for_training(a.data, prior.channels), CROPS, prior.channels)
    a.work.mkdir(parents=True, exist_ok=True)
    found = fits(VBLE(prior, FitSettings(calibrated=False)), sampler, a.fits, a.work)
    trained(prior, found, a.steps, a.rate)
    save_checkpoint({"std_decoder": cast(nn.Module, prior.std_decoder).state_dict()}, a.work / "trained.pt")
    if a.release:
        text = (a.model / "recipe.toml").read_text(encoding="utf-8")
        before = {k: v for k, v in recipe.under("release").values.items() if k not in {"sha256", "parameters"}}
        notes = before | {"deviation_fits": BATCH * a.fits, "deviation_steps": a.steps}
        print(f"released {a.release}, SHA-256 {save_prior(prior, a.release, text, notes)}")


if __name__ == "__main__":
    main()
