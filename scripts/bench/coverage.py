"""Where intervals hold: coverage of VBLE and VBLE-xz by kind of scene and sensor, with the prior's factor and without it.

    python -m scripts.bench coverage --data DATA_FOLDER [--prior NAME|DIR]

Test scenes of four kinds, in one band: NAIP tiles, middles of two frames in linear light, every third test tile of 0.3 m, middles of
every third Kodak test photograph in grey, 256 x 256. The three sensors that methods are compared on see all of them, five that no tuning
saw the first two of each kind. One fit a scene: the four posteriors share its latents, with the prior's factor on their variance or
without, with the image-space part (VBLE-xz) or without (VBLE). Intervals at 95 % are confidence intervals of the mean over scenes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from itertools import islice

import torch

from imaging.metrics import coverage, psnr
from imaging.posterior import VBLE, FitSettings, PosteriorMixture
from imaging.posterior.fitted import Variances
from imaging.priors import load_prior
from imaging.priors.zoo import find_prior
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, grouped, pick, where, with_intervals
from scripts.scenes import MARGIN, Scenes, middle
from scripts.sensors import SCORED, Trial, sensors, strangers, trials
from scripts.split import NAME, fine, frames, photographs, tiles

OPTIONS: dict[str, dict[str, object]] = {"--data": {}, "--prior": {}}
SIDE = 256 + 2 * MARGIN
SAMPLES = 16
BLOCKS = (4, 16)
FEW = 2
THIRD = slice(None, None, 3)


def kinds(arguments: argparse.Namespace) -> dict[str, Scenes]:
    """Scenes by their kind."""
    data = arguments.data
    former = find_prior(arguments.prior).recipe.under("release").get("split", str, "former") != NAME
    grey = photographs(data, "test", "kodak", in_grey=True, part=THIRD)
    return {
        "tiles, 0.6 m": tiles(data, "test"),
        "frames, linear light": frames(data, "test", side=SIDE),
        f"tiles, 0.3 m{', seen in training' if former else ''}": fine(data, "test", part=THIRD),
        "photographs, grey": {name: middle(x, SIDE) for name, x in grey.items()},
    }


def variants(factor: float) -> dict[str, tuple[bool, float]]:
    """Of a fit, by name: whether with the image-space part, and the factor on the latents' variance."""
    both = {"VBLE": False, "VBLE-xz": True}
    plain = {name if factor == 1 else f"{name}, no factor": (image, 1.0) for name, image in both.items()}
    return plain if factor == 1 else plain | {name: (image, factor) for name, image in both.items()}


class Fitted:
    """One trial, fitted when it is first asked for, with a margin around the measurement that blocks fit into."""

    def __init__(self, t: Trial, model: VBLE, seed: int) -> None:
        self.trial, self.margin = t, -(-(model.prior.border + SCORED) // max(BLOCKS)) * max(BLOCKS)
        self.fit = cache(lambda: model.fit_mixture(t.y, t.physics(self.margin), border=0, seed=seed))
        self.variances = cache(self._variances)

    def _variances(self, factor: float, block: int) -> Variances:
        """With a factor on the latents' variance, of pixels or of means over blocks."""
        scaled = (replace(p, family=p.family.scaled(factor)) for p in self.fit().parts)
        return PosteriorMixture(tuple(scaled)).variances(SAMPLES, block)

    def measured(self, image: bool, factor: float) -> Record:
        """PSNR and coverages of one of the posteriors."""
        found: Record = {}
        for block in (1, *BLOCKS):
            v = self.variances(factor, block)
            moments = (v if image else v._replace(image=torch.zeros_like(v.image))).moments()
            mean, std = (self.trial.scored(x, self.margin, block) for x in moments)
            truth = self.trial.wanted(self.margin, block)
            if block == 1:
                found |= {"psnr": psnr(mean, truth, 1.0), "coverage_90": coverage(mean, std, truth, 0.90)}
            found["coverage_95" if block == 1 else f"block_{block}"] = coverage(mean, std, truth, 0.95)
        return found


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All kinds of scenes; a trial is fitted once, when the first of its posteriors is missing."""
    model = VBLE(load_prior(arguments.prior), FitSettings(calibrated=False))
    for kind, scenes in kinds(arguments).items():
        some = dict(islice(scenes.items(), FEW))
        for found, profiles in ((scenes, sensors()), (some, strangers())):
            for key, t in trials(found, profiles, 900):
                fitted = Fitted(t, model, list(found).index(key["scene"]))
                for name, how in variants(model.prior.latent_variance).items():
                    results.once({"kind": kind} | key | {"posterior": name}, fitted.measured, *how)


def tables(records: Records) -> dict[str, str]:
    """A table for each posterior, by kind of scene and sensor."""
    found = {}
    for name in dict.fromkeys(r["posterior"] for r in records):
        some = with_intervals(where(records, posterior=name), ("kind", "sensor"), "coverage_90", "coverage_95")
        columns = pick("psnr", "coverage_90", "coverage_95", "block_4", "block_16")
        found[name] = grouped(some, {"kind": "scenes", "sensor": "sensor"}, columns)
    return found
