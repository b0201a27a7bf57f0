"""Choose the rate scale without the truth: four rules compared on validation scenes.

    python -m scripts.bench rate --data DATA_FOLDER [--prior NAME|DIR]

Each scene is fitted on one lattice at seven rate scales around the default. The rules: the expected error (the default, see
`imaging.posterior.rate_scale`), the noise alone (decoder deviation 2.4 times that of the noise at the mean signal), the evidence lower
bound (mean objective of the last four iterations, the least wins) and the discrepancy principle (mean squared standardised residual of the
posterior mean, the one nearest to 1 wins). PSNR of the fit that a rule chooses, mean over scenes, beside that of the best scale for each
scene, which takes the truth. Scenes: NAIP tuning tiles 5, 6, 8 and 9, panchromatic means, none in the benchmark.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from scripts.bench.results import Results
from scripts.bench.tables import Records, grouped
from scripts.sensors import Trial, sensor, sensors, trials
from scripts.split import tiles

OPTIONS: dict[str, dict[str, object]] = {"--data": {}, "--prior": {}}
STEPS = 2.0 ** np.arange(-1.5, 1.6, 0.5)
RULES = ("expected error (default)", "noise", "evidence bound", "discrepancy", "best, by the truth")


def chosen(t: Trial, model: VBLE) -> dict[str, float]:
    """The default scale, and the PSNR of the fit that each rule takes; the noise rule the nearest on the grid."""
    margin = model.prior.border + 6
    physics = t.physics(margin)
    default = float(model.begin(t.y, physics, border=0).problem.rate_scale)
    rows = []
    for scale in default * STEPS:
        posterior = model.fit(t.y, physics, border=0, rate_scale=float(scale))
        mean = posterior.mean(8)
        signal = physics.A(mean)
        residual = float(((t.y - signal).square() / physics.noise_model.variance(signal)).mean())
        rows.append((float(scale), t.quality(mean, margin), float(posterior.objective[-4:].mean()), residual))
    deviation = float(physics.noise_model.variance(t.y.mean().reshape(1, 1, 1, 1)).sqrt())
    scales, quality, objective, residuals = np.array(rows).T
    picks = (
        len(STEPS) // 2, np.abs(np.log(scales * 2.4 * deviation / model.prior.gamma)).argmin(), objective.argmin(),
        np.abs(residuals - 1).argmin(), quality.argmax(),
    )  # fmt: skip
    return {"scale": default} | {rule: float(quality[k]) for rule, k in zip(RULES, picks, strict=True)}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All problems."""
    torch.manual_seed(0)
    model = VBLE(load_prior(arguments.prior), FitSettings())
    others = {
        "nearly no blur, noise 0.02": sensor(0.9, 25.0),
        "nearly no blur, noise 0.05": sensor(0.9, 10.0),
        "MTF 0.20, noise 0.05": sensor(0.2, 10.0),
    }
    for key, t in trials(tiles(arguments.data, "tuning", part=slice(4, None)), sensors() | others, 700):
        results.once({"problem": key["sensor"], "scene": key["scene"]}, chosen, t, model)


def tables(records: Records) -> dict[str, str]:
    """Means by problem, and over all."""
    columns = {"scale": ("default scale", ".2f")} | {rule: (rule, ".2f") for rule in RULES}
    total = [{k: v for k, v in r.items() if k != "scale"} | {"problem": "mean"} for r in records]
    return {"all": grouped(records + total, {"problem": "problem"}, columns)}
