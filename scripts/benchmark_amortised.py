"""The pass and the fits beside each other: eight sensors, six kinds of scenes, errors of pixels and of block means.

    python scripts/benchmark_amortised.py --data DATA_FOLDER --work results.json [--use test] [--methods amortised vble-xz] [--bands 1|3|4]

Sensors: the three of scripts/benchmark_restoration.py, and five that no tuning saw: anisotropic, exponential, defocused (a disc of 1.1
pixels, blurred), nearly unblurred and noisy, and very noisy. Scenes, by what --use asks for (the split of the data): NAIP tiles, windows of
frames in linear light, two tiles at a fifth of their brightness, two tiles squared (contrast of linear light), and of tests also tiles of
0.3 m. Methods: "amortised", the pass; "vble-xz", the fit of 24 iterations on two lattices from Wiener filters; "vble-xz from the
pass", of 4 iterations; of three and four bands, which have the joint network and prior, also "band by band", the pass by the network of one
band. PSNR has full scale as peak; 8 pixels of border are not scored. Coverage of 90 and 95 % intervals of pixels, of 95 %
intervals of means over 4 x 4, 16 x 16 and 64 x 64 pixels, and the correlation of deviation and absolute error. Finished scenes are kept
in --work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from benchmark_restoration import FULL, SCORED, SENSORS, chosen, frames, tiles
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from imaging.amortised import AmortisedReconstructor, ImagePosterior, load_network
from imaging.metrics import coverage, psnr
from imaging.moments import Moments
from imaging.posterior import VBLE
from imaging.priors import load_prior
from imaging.restoration.deciding import fit_settings
from imaging.restoration.options import RestoreOptions
from imaging.sensors import SensorPhysics, SignalDependentNoise
from imaging.sensors.mtf import separable_psf
from imaging.training import read_image

MARGIN = 8
BLOCKS = (4, 16, 64)
USES = ("validation", "calibration", "test")
_TILES = {
    "validation": [k for k in range(10) if k not in (4, 7)],
    "calibration": [k for k in (*range(10, 20), *range(32, 40)) if k not in (13, 34, 37)],
    "test": list(range(20, 32)),
}
_COPR = {"validation": slice(0, 3), "calibration": slice(3, 5)}
COLUMNS = {
    "psnr": ("PSNR (dB)", 2), "coverage_90": ("90 %", 3), "coverage_95": ("95 %", 3), "block_4": ("95 %, 4 x 4", 3),
    "block_16": ("95 %, 16 x 16", 3), "block_64": ("95 %, 64 x 64", 3), "correlation": ("correlation", 2), "seconds": ("s", 2),
}  # fmt: skip
"""Titles and digits."""


@dataclass(frozen=True)
class Sensor:
    """A kernel and the signal-to-noise ratio at half signal, 70 % of that variance shot noise."""

    kernel: np.ndarray
    snr: float

    def physics(self, margin: int) -> SensorPhysics:
        """With a margin."""
        variance = (0.5 / self.snr) ** 2
        noise = SignalDependentNoise(torch.tensor([(0.3 * variance) ** 0.5]), torch.tensor([0.7 * variance / 0.5]))
        return SensorPhysics(torch.from_numpy(self.kernel).float()[None, None], noise, margin)


def disc(radius: float = 1.1, blur: float = 0.45) -> np.ndarray:
    """A defocused kernel, 13 x 13, as a file of a measured one would hold it: a disc times a Gaussian detector, drawn finely."""
    fine = 8
    n = (np.arange(13 * fine) - (13 * fine - 1) / 2) / fine
    inside = gaussian_filter((np.hypot(n[:, None], n[None]) <= radius).astype(float), blur * fine)
    kernel = inside.reshape(13, fine, 13, fine).mean((1, 3))
    return np.asarray(kernel / kernel.sum())


def sensors() -> dict[str, Sensor]:
    """All of them, by name."""
    known = {name: Sensor(separable_psf("gaussian", (m, m)), snr) for name, (m, snr) in SENSORS.items()}
    return known | {
        "anisotropic (0.08, 0.30; SNR 60)": Sensor(separable_psf("gaussian", (0.08, 0.30)), 60.0),
        "exponential (0.12; SNR 150)": Sensor(separable_psf("exponential", (0.12, 0.12)), 150.0),
        "defocused (SNR 100)": Sensor(disc(), 100.0),
        "hardly blurred (0.55; SNR 20)": Sensor(separable_psf("gaussian", (0.55, 0.55)), 20.0),
        "noisy (0.20; SNR 15)": Sensor(separable_psf("gaussian", (0.2, 0.2)), 15.0),
    }


def middles(paths: list[Path], full: float, side: int, bands: int = 1) -> list[np.ndarray]:
    """Middles of images, the mean of their bands or the first ones, in [0, 1], ``(bands, side, side)``."""
    found = []
    for path in paths:
        image = chosen(read_image(path), bands) / full
        row, column = ((n - side) // 2 for n in image.shape[1:])
        found.append(np.ascontiguousarray(image[:, row : row + side, column : column + side]))
    return found


def scenes(data: Path, use: str, bands: int = 1) -> dict[str, np.ndarray]:
    """Truths ``(bands, H, W)`` of a part of the split, by name; the first word is the kind. Of four bands there are only tiles."""
    every = tiles(data, "val", 0, 40, bands)
    chosen = {f"tile {k}": every[k] for k in _TILES[use]}
    first = _TILES[use]
    found = chosen | {f"dark {k}": np.float32(0.2) * every[k] for k in first[0:4:2]} | {f"linear {k}": every[k] ** 2 for k in first[1:4:2]}
    if use == "test":
        fine = sorted((data / "usgs_rgb_30cm" / "train").glob("*.webp"))[7::8][:6]
        found |= {f"frame {k}": x for k, x in enumerate(frames(data, bands))}
        found |= {f"fine {k}": x for k, x in enumerate(middles(fine, 255, 256, bands))} if bands <= 3 else {}
    elif bands <= 3:
        paths = sorted((data / "drone_linear12" / "val").glob("*.tif"))[_COPR[use]]
        found |= {f"frame {k}": x for k, x in enumerate(middles(paths, FULL, 528, bands))}
    return found


class Estimate(Protocol):
    """What has means and standard deviations."""

    def moments(self, samples: int = 0, block: int = 1) -> Moments:
        """Of pixels or of means over blocks."""
        ...


Fit = Callable[[Tensor, Sensor], tuple[Estimate, int]]
"""From a measurement and its sensor to a posterior and the unmeasured pixels around it."""


@dataclass(frozen=True)
class BandByBand:
    """The posterior of bands that were restored as items of a batch."""

    posterior: ImagePosterior

    def moments(self, samples: int = 0, block: int = 1) -> Moments:
        """Those of all bands."""
        return Moments(*(v.transpose(0, 1) for v in self.posterior.moments(samples, block)))


def methods(bands: int = 1) -> dict[str, Fit]:
    """The methods, by name."""
    name = {1: "pan", 3: "rgb", 4: "rgbn"}[bands]
    network, prior = load_network(f"{name}-amortised"), load_prior(name)
    single = AmortisedReconstructor(load_network())
    model, margin = AmortisedReconstructor(network), prior.border + MARGIN
    options = RestoreOptions()
    plain, short = (VBLE(prior, fit_settings(options, "vble-xz", s)) for s in ("wiener", "pass"))

    def fitted(vble: VBLE, y: Tensor, sensor: Sensor, *, start: bool) -> tuple[Estimate, int]:
        physics = sensor.physics(margin)
        first = single.each_band(y, physics) if start else None
        return vble.fit_mixture(y, physics, border=0, x_init=first), margin

    return {
        "amortised": lambda y, s: (model.fit(y, s.physics(MARGIN), margins=False), 0),
        "band by band": lambda y, s: (BandByBand(single.fit(y.transpose(0, 1), s.physics(MARGIN), margins=False)), 0),
        "vble-xz": lambda y, s: fitted(plain, y, s, start=False),
        "vble-xz from the pass": lambda y, s: fitted(short, y, s, start=True),
    }


def figures(truth: np.ndarray, sensor: Sensor, fit: Fit, seed: int) -> dict[str, float]:
    """All figures of one method on one scene."""
    physics = sensor.physics(MARGIN)
    y = physics(torch.from_numpy(truth)[None], seed=seed)
    began = time.perf_counter()
    posterior, margin = fit(y, sensor)
    mean, std = posterior.moments()
    found = {"seconds": time.perf_counter() - began}
    x = F.pad(torch.from_numpy(truth)[None], (margin - MARGIN,) * 4)
    cut = (..., slice(margin + SCORED, x.shape[2] - margin - SCORED), slice(margin + SCORED, x.shape[3] - margin - SCORED))
    a, s, t = (v[cut].numpy().astype(float) for v in (mean, std, x))
    found |= {"psnr": psnr(a, t, 1.0)} | {f"coverage_{100 * level:.0f}": coverage(a, s, t, level) for level in (0.90, 0.95)}
    found["correlation"] = float(np.corrcoef(np.abs(a - t).ravel(), s.ravel())[0, 1])
    for block in BLOCKS:
        first = -(-(margin + SCORED) // block)
        last = (x.shape[2] - margin - SCORED) // block
        inside = (..., slice(first, last), slice(first, last))
        if last > first:
            means, wide = (v[inside].numpy().astype(float) for v in posterior.moments(block=block))
            found[f"block_{block}"] = coverage(means, wide, F.avg_pool2d(x, block)[inside].numpy().astype(float), 0.95)
            found[f"count_{block}"] = float(means.size)
    return found


def table(done: dict[str, dict[str, dict[str, dict[str, float]]]], kinds: tuple[str, ...] | None = None) -> str:
    """Markdown table of means over scenes; those of blocks over all blocks."""
    lines = ["| sensor | method | " + " | ".join(t for t, _ in COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for sensor, found in done.items():
        for method, by_scene in found.items():
            rows = [r for scene, r in by_scene.items() if kinds is None or scene.split()[0] in kinds]
            if not rows:
                continue
            cells = []
            for column, (_, digits) in COLUMNS.items():
                have = [r for r in rows if column in r]
                weights = [r.get(column.replace("block", "count"), 1.0) if column.startswith("block") else 1.0 for r in have]
                cells.append(f"{np.average([r[column] for r in have], weights=weights):.{digits}f}" if have else "")
            lines.append(f"| {sensor} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pooled(done: dict[str, dict[str, dict[str, dict[str, float]]]], block: int) -> dict[str, float]:
    """Coverage of block means over all scenes and sensors, by method."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for found in done.values():
        for method, by_scene in found.items():
            rows.setdefault(method, []).extend(
                (r[f"block_{block}"], r[f"count_{block}"]) for r in by_scene.values() if f"block_{block}" in r
            )
    return {m: float(np.average([v for v, _ in r], weights=[n for _, n in r])) for m, r in rows.items() if r}


def main() -> None:
    """Parse, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="JSON file of finished scenes")
    parser.add_argument("--use", choices=USES, default="test")
    parser.add_argument("--methods", nargs="+", default=["amortised", "vble-xz", "vble-xz from the pass"])
    parser.add_argument("--sensors", default="", help="only those whose name has this in it")
    parser.add_argument("--kinds", nargs="+", help="only these kinds of scenes")
    parser.add_argument("--bands", type=int, default=1, choices=[1, 3, 4])
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    done = json.loads(a.work.read_text()) if a.work.exists() else {}
    known, truths = methods(a.bands), scenes(a.data, a.use, a.bands)
    for name, sensor in sensors().items():
        if a.sensors not in name:
            continue
        for method in a.methods:
            results = done.setdefault(name, {}).setdefault(method, {})
            for k, (scene, truth) in enumerate(truths.items()):
                if scene not in results and (a.kinds is None or scene.split()[0] in a.kinds):
                    results[scene] = figures(truth, sensor, known[method], 700 + k)
                    a.work.write_text(json.dumps(done))
            print(name, method, f"{np.mean([r['psnr'] for r in results.values()]):.2f}", flush=True)
    parts = [("All scenes", None)] + [(kind, (kind,)) for kind in dict.fromkeys(s.split()[0] for s in truths)]
    text = "\n\n".join(f"{title}:\n\n{table(done, kinds)}" for title, kinds in parts)
    text += "\n\n64 x 64 over all scenes and sensors: " + ", ".join(f"{m} {v:.3f}" for m, v in pooled(done, 64).items())
    print(text)
    if a.output:
        a.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
