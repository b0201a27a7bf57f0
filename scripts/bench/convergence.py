"""How few decoder calls a fit needs: PSNR and objective against decoder calls and seconds, for plain Adam and each improvement upon it.

    python -m scripts.bench convergence --data DATA_FOLDER [--tiles 4] [--picture curves.png]

The plain scheme is Adam with a learning rate of 0.1 quantisation steps, one fresh draw an iteration, no schedule, started from the
measurement, 1000 iterations. Each rung of the ladder adds one thing to the one before; a scheme with a schedule is run anew for each number
of iterations. PSNR is that of the posterior mean, from 8 latent samples whose time is not counted. One lattice unless said otherwise.
Scenes: NAIP tuning tiles 5, 6, 8 and 9, panchromatic means, for the three sensors of the benchmark `restoration`; none is used there.
"plain, averaged" is the plain scheme whose parameters are the mean over the last 100 iterates (at most half of them), as in VBLE as
published; it ends after 300. The picture needs matplotlib.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.draws import antithetic, position_key, uniform
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.families import LOG_WIDTH_RANGE, Family, Uniform
from imaging.posterior.running import FitInputs
from imaging.priors import load_prior
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, mean, table, where
from scripts.sensors import Trial, sensors, trials
from scripts.split import tiles

OPTIONS = {"--data": {}, "--prior": {}, "--tiles": {"type": int, "default": 4}, "--picture": {}}
PLAIN = 1000
RECORDED = (10, 20, 40, 80, 160, 320, 640, PLAIN)
BUDGETS = (10, 16, 24, 40, 80)
SAMPLES = 8
AVERAGED = "plain, averaged"
AVERAGED_AT = (40, 80, 160, 300)
LATE = 100
RUNGS = ("plain", "Wiener start", "cosine schedule", "mirrored draws", "expected widths", "steps in expected widths", "two lattices")


@torch.no_grad()
def posterior_mean(problem: FitInputs, density: Family) -> Tensor:
    """Mean scene over latent samples in mirrored pairs."""
    key = position_key(density.centre.shape, problem.origins, 77, "z", density.centre.device)
    return torch.stack([problem.scene(density.draw(antithetic(key, k, density.centre.dtype))) for k in range(SAMPLES)]).mean(0)


def adam(
    problem: FitInputs, start: tuple[Tensor, Tensor, Tensor, Tensor], iterations: int, recorded: tuple[int, ...], *, schedule: bool,
    mirrored: bool, late: int = 0,
) -> dict[int, tuple[Tensor, float, float]]:  # fmt: skip
    """Plain Adam on centres and logarithms of widths: after some iterations the scene, the objective (nats per item) and the seconds.

    The scene is that of the mean over the ``late`` last iterates, at most half of them; of the last one for 0.
    """
    parameters = [v.detach().clone().requires_grad_() for v in start]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    keys = [position_key(p.shape, problem.origins, problem.seed, s, p.device) for p, s in zip(parameters, ("z", "h"), strict=False)]
    found, began = {}, time.perf_counter()
    draw = antithetic if mirrored else uniform
    means: dict[int, list[Tensor]] = {n: [torch.zeros_like(p) for p in start] for n in recorded} if late else {}
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
        for n, total in means.items():
            count = min(late, n // 2)
            if n - count <= k < n:
                for mean_, p in zip(total, parameters, strict=True):
                    mean_ += p.detach() / count
        if k + 1 in recorded:
            z, _, wide, _ = means.get(k + 1, parameters)
            seconds = time.perf_counter() - began
            found[k + 1] = (posterior_mean(problem, Uniform(z, wide)), float(loss.detach()), seconds)
            began = time.perf_counter() - seconds
    return found


def ladder(t: Trial, model: VBLE, rung: str) -> Record:
    """Figures of one rung on one trial, each a list over numbers of decoder calls."""
    margin = model.prior.border + 6
    physics = t.physics(margin)
    pixels = t.y[0, 0].numel()
    found: dict[str, list[float]] = {k: [] for k in ("calls", "psnr", "objective", "seconds")}

    def put(calls: int, x: Tensor, objective: float, seconds: float) -> None:
        for key, value in zip(found, (calls, t.quality(x, margin), objective / pixels, seconds), strict=True):
            found[key].append(value)

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
    level = RUNGS.index(rung) if rung in RUNGS else 0
    began = time.perf_counter()
    x_init = F.pad(t.y, (margin,) * 4, mode="replicate") if level == 0 else None
    running = model.begin(t.y, physics, border=0, x_init=x_init)
    z, h = (d.centre for d in running.densities())
    widths = running.densities()[0].log_width if level >= 4 else torch.zeros_like(z)  # type: ignore[union-attr]
    start, prepared = (z, h, widths, torch.zeros_like(h)), time.perf_counter() - began
    runs = [(AVERAGED_AT[-1], AVERAGED_AT)] if rung == AVERAGED else [(PLAIN, RECORDED)] if level < 2 else [(b, (b,)) for b in BUDGETS]
    for budget, recorded in runs:
        late = LATE if rung == AVERAGED else 0
        scheme = adam(running.problem, start, budget, recorded, schedule=level >= 2, mirrored=level >= 3, late=late)
        for calls, (x, objective, seconds) in scheme.items():
            put(calls, x, objective, prepared + seconds)
    return found


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All rungs, sensors and scenes."""
    model = VBLE(load_prior(arguments.prior), FitSettings())
    scenes = tiles(arguments.data, "tuning", part=slice(4, 4 + arguments.tiles))
    for rung in (*RUNGS, AVERAGED):
        for key, t in trials(scenes, sensors(), 300):
            results.once({"rung": rung} | key, ladder, t, model, rung)


def means(records: Records, rung: str) -> dict[int, dict[str, float]]:
    """Mean over sensors and scenes of each figure, by decoder calls."""
    some = where(records, rung=rung)
    figures = {k: mean(some, k) for k in ("psnr", "objective", "seconds") if k in some[0]}
    return {calls: {k: v[n] for k, v in figures.items()} for n, calls in enumerate(some[0]["calls"])}


def tables(records: Records) -> dict[str, str]:
    """PSNR relative to the end of the plain scheme."""
    calls = sorted({c for r in records for c in r["calls"]})
    end, rows = means(records, "plain")[PLAIN], []
    for rung in [RUNGS[0], *([AVERAGED] if where(records, rung=AVERAGED) else []), *RUNGS[1:]]:
        found = means(records, rung)
        cells = [f"{found[c]['psnr'] - end['psnr']:+.2f} ({found[c]['seconds']:.1f} s)" if c in found else "" for c in calls]
        rows.append([f"{'' if rung in {'plain', AVERAGED} else '+ '}{rung}", *cells])
    title = f"decoder calls; plain Adam after {PLAIN}: {end['psnr']:.2f} dB"
    return {"ladder": table([title, *map(str, calls)], rows)}


def draw(records: Records, path: Path) -> None:
    """PSNR and objective against decoder calls and seconds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharey="row", constrained_layout=True)
    for rung in RUNGS:
        found = means(records, rung)
        for row, quantity in enumerate(("psnr", "objective")):
            if quantity == "objective" and rung == RUNGS[-1]:
                continue  # of two latent spaces: not comparable
            values = [m[quantity] for m in found.values()]
            axes[row, 0].plot(list(found), values, marker=".", label=rung if rung == "plain" else f"+ {rung}")
            axes[row, 1].plot([m["seconds"] for m in found.values()], values, marker=".")
    for axis, label in zip(axes[1], ("decoder calls", "seconds for 240 x 240 pixels"), strict=True):
        axis.set_xlabel(label)
    for axis, label in zip(axes[:, 0], ("PSNR (dB)", "objective (nats per pixel)"), strict=True):
        axis.set_ylabel(label)
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
