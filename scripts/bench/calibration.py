"""Where intervals hold: coverage by level, brightness, local contrast, spatial frequency and size of blocks, on the benchmark's scenes.

    python -m scripts.bench calibration --data DATA_FOLDER [--prior NAME|DIR] [--scenes 12] [--picture curve.png]

Scenes: panchromatic means of NAIP test tiles 20 to 31 and the middles of two drone frames, none used in training, tuning or
calibration; the three sensors of the benchmark `restoration`. Groups of pixels are deciles of the restored scene's brightness and of
its local contrast, over 9 x 9 pixels; bands of frequency are quarters up to Nyquist, by intervals from 16 posterior samples. The picture
shows the coverage curve and the histogram of standardised errors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imaging import metrics
from imaging.metrics import coverage, coverage_by, coverage_by_frequency, coverage_curve, local_contrast
from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, cell, grouped, mean, table, where
from scripts.scenes import MARGIN
from scripts.sensors import Trial, sensors, trials
from scripts.split import frames, tiles

OPTIONS: dict[str, dict[str, object]] = {"--data": {}, "--prior": {}, "--scenes": {}, "--picture": {}}
SAMPLES, LEVEL = 16, 0.9
BLOCKS = (2, 4, 8)
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
EDGES = np.linspace(-5, 5, 101)
GROUPS = ("deciles of brightness", "deciles of local contrast", "quarters of frequency", "means over 2 x 2, 4 x 4, 8 x 8")


def measured(t: Trial, model: VBLE, seed: int) -> Record:
    """Coverage of one scene in all groups, by all levels, and its errors' histogram."""
    margin = -(-(model.prior.border + MARGIN) // max(BLOCKS)) * max(BLOCKS)
    posterior = model.fit_mixture(t.y, t.physics(margin), border=0, seed=seed)
    truth, samples = t.wanted(margin), model.settings.samples
    m, std = (t.scored(v, margin) for v in posterior.moments(samples))
    drawn = np.stack([t.scored(x, margin) for x in posterior.sample(SAMPLES)])
    blocks = []
    for b in BLOCKS:
        means, wide = (t.scored(v, margin, b) for v in posterior.moments(samples, b))
        blocks.append(coverage(means, wide, t.wanted(margin, b), LEVEL))
    by = (
        coverage_by(m, std, truth, m, LEVEL), coverage_by(m, std, truth, local_contrast(m), LEVEL),
        coverage_by_frequency(m, drawn, truth, LEVEL), np.array(blocks),
    )  # fmt: skip
    return {
        "likelihood": metrics.negative_log_likelihood(m, std, truth), "levels": coverage_curve(m, std, truth, LEVELS).tolist(),
        "_curve": coverage_curve(m, std, truth).tolist(), "_density": metrics.standardised_histogram(m, std, truth, EDGES).tolist(),
    } | {name: values.tolist() for name, values in zip(GROUPS, by, strict=True)}  # fmt: skip


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All scenes seen by all sensors."""
    model = VBLE(load_prior(arguments.prior), FitSettings())
    bands = model.prior.channels
    scenes = tiles(arguments.data, "test", bands, slice(arguments.scenes)) | frames(arguments.data, "test", bands)
    for key, t in trials(scenes, sensors(bands), 700):
        results.once(key, measured, t, model, list(scenes).index(key["scene"]))


def tables(records: Records) -> dict[str, str]:
    """By level, and by group, from the lowest to the highest."""
    curves = [r | {f"{100 * level:.0f} %": v for level, v in zip(LEVELS, r["levels"], strict=True)} for r in records]
    columns = {f"{100 * level:.0f} %": (f"{100 * level:.0f} %", ".3f") for level in LEVELS}
    levels = grouped(curves, {"sensor": "sensor"}, columns | {"likelihood": ("negative log-likelihood (nats)", ".3f")})
    names = dict.fromkeys(r["sensor"] for r in records)
    groups = [[s, by, cell(mean(where(records, sensor=s), by), ".2f")] for s in names for by in GROUPS]
    return {"levels": levels, "groups": table(["sensor", "by", "coverage"], groups)}


def draw(records: Records, path: Path) -> None:
    """Coverage against level, and the histogram of standardised errors with the normal density."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    right.semilogy(EDGES, np.exp(-(EDGES**2) / 2) / np.sqrt(2 * np.pi), color="0.6", lw=1, label="normal")
    for name in dict.fromkeys(r["sensor"] for r in records):
        some = where(records, sensor=name)
        left.plot(metrics.LEVELS, mean(some, "_curve"), marker="o", ms=3, label=name)
        right.semilogy((EDGES[1:] + EDGES[:-1]) / 2, np.maximum(mean(some, "_density"), 1e-5), label=name)
    left.set(xlabel="nominal level", ylabel="share of pixels covered", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="error / standard deviation", ylabel="density", ylim=(1e-4, 1))
    for axis in (left, right):
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
