"""Where intervals hold: coverage by level, brightness, local contrast, spatial frequency and size of blocks, on the benchmark's scenes.

    python scripts/benchmark_calibration.py --data DATA_FOLDER [--prior NAME|DIR] [--output table.md] [--picture curve.png]

Scenes: panchromatic means of naip_rgbn_60cm/val tiles 20 to 31 and the middles of two drone frames, none used in training, tuning or
calibration; the three sensors of scripts/benchmark_restoration.py. Groups of pixels are deciles of the restored scene's brightness and of
its local contrast, over 9 x 9 pixels; bands of frequency are quarters up to Nyquist, by intervals from 16 posterior samples. The picture
shows the coverage curve and the histogram of standardised errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from benchmark_restoration import FULL, MARGIN, SCORED, SENSORS, benchmark_parser, frames, sensor, tiles, trial

from imaging.metrics import (
    LEVELS,
    block_mean,
    coverage,
    coverage_by,
    coverage_by_frequency,
    coverage_curve,
    local_contrast,
    standardised_errors,
)
from imaging.metrics import negative_log_likelihood as nll
from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from imaging.sensors import sensor_physics

SAMPLES = 16
BLOCKS = (2, 4, 8)


class Case(NamedTuple):
    """One restored scene: scored pixels ``(C, H, W)``, samples of them, and deviations of means over blocks."""

    truth: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray
    block_std: dict[int, np.ndarray]


def cases(model: VBLE, scenes: list[np.ndarray]) -> Iterator[tuple[str, Case]]:
    """All scenes seen by all sensors."""
    bands = model.prior.channels
    margin = -(-(model.prior.border + MARGIN) // max(BLOCKS)) * max(BLOCKS)
    edge = margin + max(SCORED, max(BLOCKS))
    for name, (nyquist, snr) in SENSORS.items():
        for k, scene in enumerate(scenes):
            t = trial(scene, sensor(nyquist, snr, bands), 700 + k)
            posterior = model.fit_mixture(t.y, sensor_physics(t.profile.bands, FULL, margin), border=0, seed=k)
            truth = torch.nn.functional.pad(t.truth, (margin - MARGIN,) * 4)

            def scored(x: torch.Tensor, block: int = 1) -> np.ndarray:
                inner = x[..., edge // block : -(edge // block), edge // block : -(edge // block)]
                return inner.numpy().astype(float)

            mean, std = posterior.moments(model.settings.samples)
            blocks = {b: scored(posterior.moments(model.settings.samples, b).std[0], b) for b in BLOCKS}
            samples = scored(posterior.sample(SAMPLES)[:, 0])
            yield name, Case(scored(truth[0]), scored(mean[0]), scored(std[0]), samples, blocks)


def figures(case: Case, level: float) -> dict[str, np.ndarray]:
    """Coverage of one scene in all groups."""
    truth, mean, std = case.truth, case.mean, case.std
    blocks = []
    for size, wide in case.block_std.items():
        a, b = (block_mean(x, size) for x in (mean, truth))
        rows, columns = (min(n, m) for n, m in zip(a.shape[-2:], wide.shape[-2:], strict=True))
        blocks.append(coverage(a[..., :rows, :columns], wide[..., :rows, :columns], b[..., :rows, :columns], level))
    return {
        "deciles of brightness": coverage_by(mean, std, truth, mean, level),
        "deciles of local contrast": coverage_by(mean, std, truth, local_contrast(mean), level),
        "quarters of frequency": coverage_by_frequency(mean, case.samples, truth, level),
        f"means over {', '.join(f'{b} x {b}' for b in BLOCKS)}": np.array(blocks),
    }


def draw(curves: dict[str, np.ndarray], errors: dict[str, np.ndarray], path: Path) -> None:
    """Coverage against level, and the histogram of standardised errors with the normal density."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    z = np.linspace(-5, 5, 101)
    right.semilogy(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), color="0.6", lw=1, label="normal")
    for name, curve in curves.items():
        left.plot(LEVELS, curve, marker="o", ms=3, label=name)
        density, edges = np.histogram(errors[name], z, density=True)
        right.semilogy((edges[1:] + edges[:-1]) / 2, np.maximum(density, 1e-5), label=name)
    left.set(xlabel="nominal level", ylabel="share of pixels covered", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="error / standard deviation", ylabel="density", ylim=(1e-4, 1))
    left.legend(frameon=False)
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse, run, print, draw."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--scenes", type=int, default=12, help="how many of the tiles")
    arguments = parser.parse_args()
    model = VBLE(load_prior(arguments.prior), FitSettings())
    bands = model.prior.channels
    scenes = tiles(arguments.data, "val", 20, 20 + arguments.scenes, bands) + frames(arguments.data, bands)
    found: dict[str, list[Case]] = {}
    for name, case in cases(model, scenes):
        found.setdefault(name, []).append(case)
    levels = (0.5, 0.8, 0.9, 0.95, 0.99)
    lines = ["| sensor | " + " | ".join(f"{100 * v:.0f} %" for v in levels) + " | negative log-likelihood (nats) |", "|---" * 7 + "|"]
    curves, errors = {}, {}
    for name, several in found.items():
        curve = np.mean([coverage_curve(c.mean, c.std, c.truth, levels) for c in several], 0)
        density = np.mean([nll(c.mean, c.std, c.truth) for c in several])
        lines.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in curve) + f" | {density:.3f} |")
        curves[name] = np.mean([coverage_curve(c.mean, c.std, c.truth) for c in several], 0)
        errors[name] = np.concatenate([standardised_errors(c.mean, c.std, c.truth).ravel() for c in several])
    lines += ["", "Coverage of 90 % intervals, from the lowest to the highest:", "", "| sensor | by | coverage |", "|---|---|---|"]
    for name, several in found.items():
        groups = [figures(c, 0.9) for c in several]
        for by in groups[0]:
            lines.append(f"| {name} | {by} | " + " ".join(f"{v:.2f}" for v in np.mean([g[by] for g in groups], 0)) + " |")
    text = "\n".join(lines)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    if arguments.picture:
        draw(curves, errors, arguments.picture)


if __name__ == "__main__":
    main()
