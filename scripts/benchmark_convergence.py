"""How few decoder calls a fit needs: PSNR and objective against decoder calls and seconds, for plain Adam and each improvement upon it.

    python scripts/benchmark_convergence.py --data DATA_FOLDER --work results.json [--output table.md] [--picture curves.png]

The plain scheme is Adam with a learning rate of 0.1 quantisation steps, one fresh draw an iteration, no schedule, started from the
measurement, 1000 iterations. Each rung of the ladder adds one thing to the one before; a scheme with a schedule is run anew for each number
of iterations. PSNR is that of the posterior mean, from 8 latent samples whose time is not counted. One lattice unless said otherwise.
Scenes: naip_rgbn_60cm/val tiles 6 to 9, panchromatic means, for the three sensors of scripts/benchmark_restoration.py; none is used there.
Finished runs are kept in --work, so that the script can be resumed. The picture needs matplotlib.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_restoration import FULL, SENSORS, Trial, benchmark_parser, sensor, tiles, trial
from torch import Tensor
from torch.nn import functional as F

from imaging.draws import antithetic, position_key, uniform
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.families import LOG_WIDTH_RANGE, Family, Uniform
from imaging.posterior.running import FitInputs
from imaging.priors import load_prior
from imaging.sensors import sensor_physics

PLAIN = 1000
RECORDED = (10, 20, 40, 80, 160, 320, 640, PLAIN)
BUDGETS = (10, 16, 24, 40, 80)
SAMPLES = 8
RUNGS = ("plain", "Wiener start", "cosine schedule", "mirrored draws", "expected widths", "steps in expected widths", "two lattices")


@torch.no_grad()
def posterior_mean(problem: FitInputs, density: Family) -> Tensor:
    """Mean scene over latent samples in mirrored pairs."""
    key = position_key(density.centre.shape, problem.origins, 77, "z", density.centre.device)
    return torch.stack([problem.scene(density.draw(antithetic(key, k, density.centre.dtype))) for k in range(SAMPLES)]).mean(0)


def adam(
    problem: FitInputs, start: tuple[Tensor, Tensor, Tensor, Tensor], iterations: int, recorded: tuple[int, ...], *, schedule: bool,
    mirrored: bool,
) -> dict[int, tuple[Tensor, float, float]]:  # fmt: skip
    """Plain Adam on centres and logarithms of widths: after some iterations the scene, the objective (nats per item) and the seconds."""
    parameters = [v.detach().clone().requires_grad_() for v in start]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    keys = [position_key(p.shape, problem.origins, problem.seed, s, p.device) for p, s in zip(parameters, ("z", "h"), strict=False)]
    found, began = {}, time.perf_counter()
    draw = antithetic if mirrored else uniform
    for k in range(iterations):
        if schedule:
            optimizer.param_groups[0]["lr"] = 0.1 * (0.5 * (1 + math.cos(math.pi * k / iterations)) + 0.02)
        z, h, wide, hyper_wide = parameters
        noise = (draw(keys[0], k), draw(keys[1], k))
        loss = problem.objective(Uniform(z, wide), Uniform(h, hyper_wide), noise).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for log_width in parameters[2:]:
            log_width.data.clamp_(*LOG_WIDTH_RANGE)
        if k + 1 in recorded:
            seconds = time.perf_counter() - began
            found[k + 1] = (posterior_mean(problem, Uniform(z, wide)), float(loss.detach()), seconds)
            began = time.perf_counter() - seconds
    return found


def ladder(t: Trial, model: VBLE, rung: str) -> dict[str, dict[str, float]]:
    """Figures of one rung on one trial, by number of decoder calls."""
    margin = model.prior.border + 6
    physics = sensor_physics(t.profile.bands, FULL, margin)
    pixels = t.y[0, 0].numel()
    found: dict[str, dict[str, float]] = {}

    def put(calls: int, x: Tensor, objective: float, seconds: float) -> None:
        found[str(calls)] = {"psnr": t.quality(x, margin), "objective": objective / pixels, "seconds": seconds}

    if rung in RUNGS[-2:]:
        for budget in BUDGETS:
            lattices = 2 if rung == RUNGS[-1] else 1
            seconds, scenes, objective = 0.0, [], 0.0
            for lattice in range(lattices):
                began = time.perf_counter()
                settings = replace(model.settings, iterations=budget // lattices)
                running = VBLE(model.prior, settings).begin(t.y, physics, border=0, lattice=lattice, seed=lattice)
                running.advance()
                seconds += time.perf_counter() - began
                scenes.append(posterior_mean(running.problem, running.densities()[0]))
                last = torch.stack(running.history[-4:]).mean()
                objective += float(last) * scenes[-1][0, 0].numel() / lattices
            put(budget, torch.stack(scenes).mean(0), objective, seconds)
        return found
    level = RUNGS.index(rung)
    began = time.perf_counter()
    x_init = F.pad(t.y, (margin,) * 4, mode="replicate") if level == 0 else None
    running = model.begin(t.y, physics, border=0, x_init=x_init)
    z, h = (d.centre for d in running.densities())
    widths = running.densities()[0].log_width if level >= 4 else torch.zeros_like(z)  # type: ignore[union-attr]
    start, prepared = (z, h, widths, torch.zeros_like(h)), time.perf_counter() - began
    if level < 2:
        for calls, (x, objective, seconds) in adam(running.problem, start, PLAIN, RECORDED, schedule=False, mirrored=False).items():
            put(calls, x, objective, prepared + seconds)
    else:
        for budget in BUDGETS:
            run = adam(running.problem, start, budget, (budget,), schedule=True, mirrored=level >= 3)
            x, objective, seconds = run[budget]
            put(budget, x, objective, prepared + seconds)
    return found


def average(done: dict[str, Any], rung: str) -> dict[int, dict[str, float]]:
    """Mean over sensors and scenes of each figure, by decoder calls."""
    runs = [r for scenes in done[rung].values() for r in scenes.values()]
    return {int(c): {k: float(np.mean([r[c][k] for r in runs])) for k in runs[0][c]} for c in runs[0]}


def table(done: dict[str, Any]) -> str:
    """Markdown table: PSNR relative to the end of the plain scheme."""
    calls = sorted({*BUDGETS, *RECORDED})
    goal = average(done, "plain")[PLAIN]
    lines = [
        f"Plain Adam after {PLAIN} iterations: {goal['psnr']:.2f} dB, {goal['objective']:.4f} nats per pixel, {goal['seconds']:.0f} s.", "",
        "| decoder calls | " + " | ".join(map(str, calls)) + " |", "|---" * (len(calls) + 1) + "|",
    ]  # fmt: skip
    for rung in RUNGS:
        means = average(done, rung)
        cells = [f"{means[c]['psnr'] - goal['psnr']:+.2f} ({means[c]['seconds']:.1f} s)" if c in means else "" for c in calls]
        lines.append(f"| {'+ ' if rung != 'plain' else ''}{rung} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(done: dict[str, Any], path: Path) -> None:
    """PSNR and objective against decoder calls and seconds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharey="row", constrained_layout=True)
    for rung in RUNGS:
        means = average(done, rung)
        for row, quantity in enumerate(("psnr", "objective")):
            if quantity == "objective" and rung == RUNGS[-1]:
                continue  # of two latent spaces: not comparable
            values = [m[quantity] for m in means.values()]
            axes[row, 0].plot(list(means), values, marker=".", label=rung if rung == "plain" else f"+ {rung}")
            axes[row, 1].plot([m["seconds"] for m in means.values()], values, marker=".")
    for axis, label in zip(axes[1], ("decoder calls", "seconds for 240 x 240 pixels"), strict=True):
        axis.set_xlabel(label)
    for axis, label in zip(axes[:, 0], ("PSNR (dB)", "objective (nats per pixel)"), strict=True):
        axis.set_ylabel(label)
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse, run what is missing, print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--work", type=Path, required=True, help="JSON file of finished runs")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    model = VBLE(load_prior(arguments.prior), FitSettings())
    done = json.loads(arguments.work.read_text()) if arguments.work.exists() else {}
    for rung in RUNGS:
        for name, (nyquist, snr) in SENSORS.items():
            results = done.setdefault(rung, {}).setdefault(name, {})
            for k, truth in enumerate(tiles(arguments.data, "val", 6, 6 + arguments.tiles)):
                if str(k) not in results:
                    results[str(k)] = ladder(trial(truth, sensor(nyquist, snr), 300 + k), model, rung)
                    arguments.work.write_text(json.dumps(done))
        print(rung, {c: round(m["psnr"], 2) for c, m in average(done, rung).items()}, flush=True)
    print(table(done))
    if arguments.output:
        arguments.output.write_text(table(done) + "\n", encoding="utf-8")
    if arguments.picture:
        draw(done, arguments.picture)


if __name__ == "__main__":
    main()
