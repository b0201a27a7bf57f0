"""Compare methods of bilevel learning: cost, loss and parameters.

    python -m scripts.bench bilevel --data DATA_FOLDER [--problem tv|foe] [--budget N] [--picture curves.png]

Denoising with total variation or a field of experts: 25 training images of BSDS500, their middles of 96 x 96 pixels, noise 0.1, one
draw; the test score is the mean PSNR (dB) of the last twelve images of Kodak. Cost is gradients and Hessian products of the
lower level, counted for each image, rejected steps included. First accuracies are 1 where none is named; plain methods descend along the
hypergradient, those of L-BFGS along the direction that the last ten steps make; lower levels are solved by limited-memory BFGS, in the
last rows by gradient descent.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from imaging.bilevel import BilevelProblem, FieldOfExperts, HoagSettings, Learned, LowerLevel, MaidSettings, TotalVariation, hoag, maid
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, grouped, where
from scripts.scenes import middles
from scripts.split import photographs

SIDE, NOISE = 96, 0.1
ACCURACIES = (1e2, 1e0, 1e-2, 1e-5)
LEVELS = (1.01, 1.001, 1.0001)
OPTIONS = {
    "--data": {}, "--picture": {}, "--methods": {"help": "only those whose names begin so"},
    "--problem": {"choices": ["tv", "foe"], "default": "tv"}, "--budget": {"type": float, "default": 1e6, "help": "of a method"},
}  # fmt: skip
PAIRS, QUICK, BELOW = 10, "quasi-newton", "gradient descent below"
SCHEDULES = ("geometric", "quadratic", "cubic")


def scenes(data: Path, *, test: bool = False) -> Tensor:
    """Middles of the 25 images that are learned from, or of 12 others, ``(n, 1, 96, 96)``, float64."""
    kind, use, part = ("kodak", "test", slice(-12, None)) if test else ("bsd", "training", slice(25))
    found = photographs(data, use, kind, in_grey=True, part=part)
    return middles([torch.from_numpy(x[0]) for x in found.values()], SIDE).double()


def noisy(truth: Tensor, seed: int) -> Tensor:
    """Images with white noise."""
    return truth + NOISE * torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(truth)


def problem(data: Path, name: str, solver: str) -> tuple[BilevelProblem, Tensor]:
    """The learning problem with a lower-level solver, and where it starts."""
    truth = scenes(data)
    y = noisy(truth, 31)
    if name == "tv":
        return BilevelProblem(LowerLevel(TotalVariation(), method=solver), y, truth), torch.tensor([-5.0, -5.0], dtype=truth.dtype)
    regularizer = FieldOfExperts(48, 7)
    return BilevelProblem(LowerLevel(regularizer, method=solver), y.float(), truth.float()), regularizer.start(1, -3.0, -3.5)


Method = Callable[..., Learned]


def methods(name: str) -> dict[str, tuple[str, Method]]:
    """Each method's lower-level solver and run: as many ways of HOAG as of MAID, each with the same steps and the same solver."""
    base = MaidSettings(accuracy=1.0, floor=1e-6 if name == "foe" else 1e-9)  # float32 and float64
    plain = replace(base, coarsest=1.0, adaptive=False)
    ours = {"plain": plain, "learning from refusals": base}
    ours |= {f"L-BFGS, {a:g}": replace(base, accuracy=a, pairs=PAIRS) for a in (ACCURACIES if name == "tv" else (1.0,))}
    found: dict[str, tuple[str, Method]] = {f"MAID, {k}": (QUICK, partial(maid, settings=s)) for k, s in ours.items()}
    for title, pairs in ("plain", 0), ("L-BFGS", PAIRS):
        some = {schedule: HoagSettings(schedule=schedule, pairs=pairs) for schedule in SCHEDULES}
        found |= {f"HOAG {k}, {title}": (QUICK, partial(hoag, settings=s)) for k, s in some.items()}
    found["fixed accuracy 0.01, plain"] = QUICK, partial(hoag, settings=HoagSettings(schedule="fixed", accuracy=1e-2))
    found[f"MAID, plain, {BELOW}"] = "gradient", partial(maid, settings=plain)
    theirs = {f"HOAG {k}, plain, {BELOW}": HoagSettings(schedule=k) for k in SCHEDULES}
    return found | {k: ("gradient", partial(hoag, settings=s)) for k, s in theirs.items()}


def thinned(seen: list[tuple[int, Tensor]], most: int) -> list[tuple[int, Tensor]]:
    """So many points at most, evenly spread over the logarithm of the cost; always the last."""
    if len(seen) <= most:
        return seen
    low, high = (math.log(seen[k][0]) for k in (0, -1))
    costs = torch.tensor([cost for cost, _ in seen]).double().log()
    chosen = (costs - torch.linspace(low, high, most).double()[:, None]).abs().argmin(1).tolist()
    return [seen[k] for k in sorted({*chosen, len(seen) - 1})]


def quality(exact: BilevelProblem, theta: Tensor, data: Path) -> float:
    """Test score: mean PSNR (dB) of twelve Kodak images."""
    truth = scenes(data, test=True).to(theta)
    error = exact.lower.solve(noisy(truth, 32), theta, 1e-3 * SIDE).x - truth
    return float(-10 * error.square().mean((1, 2, 3)).log10().mean())


def learned(data: Path, name: str, solver: str, method: Method, budget: float) -> Record:
    """One method from the start until it ends or the budget is used up; losses on its way are evaluated afterwards, to high accuracy."""
    learning, start = problem(data, name, solver)
    seen: list[tuple[int, Tensor]] = []
    began = time.perf_counter()
    found = method(learning, start, iterations=100_000, budget=budget, progress=lambda step, theta: seen.append((step.cost, theta)))
    seconds = time.perf_counter() - began
    exact, _ = problem(data, name, "quasi-newton")
    curve, x = [], None
    for cost, theta in thinned(seen, 25 if name == "foe" else 150):
        solution = exact.solve(theta, 1e-2 if name == "foe" else 1e-4, x)
        x = solution.x
        curve.append((cost, exact.loss(solution), theta.tolist() if name == "tv" else []))
    return {
        "loss": curve[-1][1], "parameters": ", ".join(f"{v:.4f}" for v in curve[-1][2]) or None, "score": quality(exact, found.theta, data),
        "cost": learning.cost.total, "steps": len(seen), "seconds": seconds, "accuracy": found.history[-1].accuracy,
        "status": found.status, "_curve": curve,
    }  # fmt: skip


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All methods; then at what cost each came near to the best loss."""
    for name, (solver, method) in methods(arguments.problem).items():
        if not arguments.methods or any(name.startswith(m) for m in arguments.methods):
            key = {"problem": arguments.problem, "method": name}
            results.once(key, learned, arguments.data, arguments.problem, solver, method, arguments.budget)
    some = where(results.records, problem=arguments.problem)
    best = min(r["loss"] for r in some)
    for r in some:
        for level in LEVELS:
            r[f"to {level}"] = next((cost for cost, loss, _ in r["_curve"] if loss <= level * best), None)


def tables(records: Records) -> dict[str, str]:
    """Of each problem; no cost where a loss was never reached."""
    columns = {"loss": ("loss", ".6g"), "parameters": ("parameters", ""), "score": ("test score", ".4g"), "cost": ("cost", ".0f")}
    columns |= {f"to {level}": (f"to {level} of the best", ".0f") for level in LEVELS}
    columns |= {"steps": ("steps", ".0f"), "status": ("status", "")}
    problems = dict.fromkeys(r["problem"] for r in records)
    return {p: grouped(where(records, problem=p), {"method": "method"}, columns) for p in problems}


def draw(records: Records, path: Path) -> None:
    """Excess of the loss over the best against cost."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5))
    least = min(loss for r in records for _, loss, _ in r["_curve"])
    for r, colour in zip(records, plt.get_cmap("tab20").colors, strict=False):  # type: ignore[attr-defined]
        style, costs, losses = "-" if r["method"].startswith("MAID") else "--", *list(zip(*r["_curve"], strict=True))[:2]
        axis.plot(costs, [loss - least + 1e-5 for loss in losses], style, color=colour, label=r["method"])
    axis.set(xscale="log", yscale="log", xlabel="gradients and Hessian products of single images", ylabel="loss above the least seen")
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
