"""Compare methods of bilevel learning on denoising: cost, loss and parameters, for total variation or a field of experts.

    python scripts/benchmark_bilevel.py --data DATA_FOLDER --work RUN_FOLDER [--problem tv|foe] [--budget N] [--picture curves.png]

25 images, 12 of Kodak and 13 of BSDS500 (train), their middles of 96 x 96 pixels, noise 0.1, one draw. Cost is gradients and Hessian
products of the lower level, counted for each image, rejected steps included. Each finished method is kept in --work, so that a run can be
resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from learn_regularizer import grey
from torch import Tensor

from imaging.bilevel import BilevelProblem, FieldOfExperts, HoagSettings, Learned, LowerLevel, MaidSettings, TotalVariation, hoag, maid
from imaging.priors.data import read_image

SIDE, NOISE = 96, 0.1
ACCURACIES = (1e2, 1e0, 1e-2, 1e-5)
SCHEDULES = ("geometric", "quadratic", "cubic")


def scenes(data: Path, count: int = 25) -> Tensor:
    """Middles of images, ``(count, 1, 96, 96)``, float64."""
    paths = sorted((data / "kodak24").glob("*.png"))[:12] + sorted((data / "bsds500" / "train").glob("*.jpg"))[:13]
    found = []
    for path in paths[:count]:
        image = torch.from_numpy(grey(read_image(path))).double()
        row, column = ((n - SIDE) // 2 for n in image.shape)
        found.append(image[row : row + SIDE, column : column + SIDE])
    return torch.stack(found)[:, None]


def problem(data: Path, name: str, method: str) -> tuple[BilevelProblem, Tensor]:
    """The learning problem with a lower-level solver, and where it starts."""
    truth = scenes(data)
    y = truth + NOISE * torch.randn(truth.shape, generator=torch.Generator().manual_seed(31), dtype=truth.dtype)
    if name == "tv":
        regularizer: TotalVariation | FieldOfExperts = TotalVariation()
        start = torch.tensor([-5.0, -5.0], dtype=truth.dtype)
    else:
        regularizer, truth, y = FieldOfExperts(48, 7), truth.float(), y.float()
        start = regularizer.start(1, -3.0, -3.5)
    return BilevelProblem(LowerLevel(regularizer, method=method), y, truth), start


Method = Callable[[BilevelProblem, Tensor, float], Learned]


def methods(name: str) -> dict[str, tuple[str, Method]]:
    """Each method's lower-level solver and run."""
    found: dict[str, tuple[str, Method]] = {}

    def ours(settings: MaidSettings) -> Method:
        return lambda p, t, budget: maid(p, t, settings, iterations=10_000, budget=budget)

    def theirs(settings: HoagSettings) -> Method:
        return lambda p, t, budget: hoag(p, t, settings, iterations=10_000, budget=budget)

    for accuracy in ACCURACIES if name == "tv" else (1.0,):
        found[f"MAID, {accuracy:g}"] = ("quasi-newton", ours(MaidSettings(accuracy=accuracy, barzilai_borwein=True)))
    found["MAID plain steps, 1"] = ("quasi-newton", ours(MaidSettings(accuracy=1.0)))
    found["MAID, gradient descent below, 1"] = ("gradient", ours(MaidSettings(accuracy=1.0, coarsest=1.0)))
    for schedule in SCHEDULES:
        found[f"HOAG {schedule}, 1"] = ("quasi-newton", theirs(HoagSettings(schedule=schedule)))
    found["fixed accuracy, 1e-2"] = ("quasi-newton", theirs(HoagSettings(schedule="fixed", accuracy=1e-2)))
    return found


def run(data: Path, name: str, solver: str, method: Method, budget: float) -> dict[str, Any]:
    """One method from the start until it ends or the budget is used up; the loss at its end is evaluated exactly."""
    learning, start = problem(data, name, solver)
    began = time.perf_counter()
    found = method(learning, start, budget)
    seconds = time.perf_counter() - began
    table = found.table()
    exact, _ = problem(data, name, "quasi-newton")
    loss = exact.loss(exact.solve(found.theta, 1e-4 if name == "tv" else 1e-2))
    theta = found.theta.tolist() if name == "tv" else []
    return {"cost": table["cost"], "low": table["low"], "high": table["high"], "loss": loss, "theta": theta, "status": found.status,
            "total": learning.lower.cost.total, "seconds": seconds}  # fmt: skip


def spent(result: dict[str, Any], level: float) -> float:
    """Cost at which the loss is certainly at or below a level; infinite where it never is."""
    return next((c for c, high in zip(result["cost"], result["high"], strict=True) if high <= level), float("inf"))


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Loss against cost."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5))
    for name, r in results.items():
        axis.plot(r["cost"], [(a + b) / 2 for a, b in zip(r["low"], r["high"], strict=True)], label=name)
    axis.set(xscale="log", xlabel="gradients and Hessian products of single images", ylabel="mean squared distance / 2")
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--problem", choices=["tv", "foe"], default="tv")
    parser.add_argument("--budget", type=float, default=1e6, help="of a method")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    kept = arguments.work / f"{arguments.problem}.json"
    results: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    for name, (solver, method) in methods(arguments.problem).items():
        if name not in results:
            results[name] = run(arguments.data, arguments.problem, solver, method, arguments.budget)
            kept.write_text(json.dumps(results))
            print(f"{name}: {results[name]['status']}, loss {results[name]['loss']:.5f}, cost {results[name]['total']}", flush=True)
    best = min(r["loss"] for r in results.values())
    print("\n| method, first accuracy | loss | parameters | cost | cost to 1.001 of the best | status | s |\n|" + "---|" * 7)
    for name, r in results.items():
        theta = ", ".join(f"{v:.4f}" for v in r["theta"])
        reached = spent(r, 1.001 * best)
        print(f"| {name} | {r['loss']:.5f} | {theta} | {r['total']} | {reached:.0f} | {r['status']} | {r['seconds']:.0f} |")
    if arguments.picture:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
