"""Benchmark the restoration on simulated scenes against Wiener and total-variation deconvolution, for three sensors.

    python scripts/benchmark_restoration.py --data DATA_FOLDER [--methods vble-xz wcrr ...] [--prior NAME|DIR] [--bands 1|3|4]

Scenes: panchromatic means, or the first bands, of naip_rgbn_60cm/val tiles 20 to 31 and, up to three bands, the middle of two
drone_linear12 frames of a source kept out of training. Several bands are restored together by a prior of as many channels, otherwise one
by one. Wiener uses the mean power spectrum of the training images; the weight of TV (deepinv, FISTA) is tuned on validation tiles 0 to 3.
PSNR has full scale as peak; 8 pixels of border are not scored. Each finished scene is kept in --work, so that a run can be resumed;
--known takes what there is of other methods' figures from the --work file of an earlier run. The methods with learned regularisers, tv,
foe, crr and wcrr, are as imaging-restore offers them, their weight set by the noise.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from deepinv.optim import FISTA, L2, TVPrior
from deepinv.physics import GaussianNoise
from torch import Tensor
from torch.nn import functional as F

import imaging
from imaging.metrics import coverage, psnr, ssim
from imaging.names import AMORTISED, REGULARIZERS
from imaging.priors import DEFAULT_PRIOR
from imaging.restoration import RestoreOptions
from imaging.sensors import Band, Mtf, Noise, SensorPhysics, SensorProfile, sensor_physics
from imaging.training import read_image

FULL = 4095.0
MARGIN = 8
SCORED = 8  # border of the measurement that is not scored
SENSORS = {"mild (MTF 0.30, SNR 100)": (0.30, 100.0), "raw (MTF 0.15, SNR 90)": (0.15, 90.0), "hard (MTF 0.10, SNR 40)": (0.10, 40.0)}
CLASSICAL = ("measurement", "Wiener", "TV")
WEIGHTS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


@dataclass(frozen=True)
class Trial:
    """One scene seen by one sensor: truth with margins, measurement, physics, all in image units."""

    truth: Tensor
    y: Tensor
    physics: SensorPhysics
    profile: SensorProfile

    def inner(self, x: Tensor | np.ndarray) -> np.ndarray:
        """Scored part of an image on the measurement's grid, ``(C, H, W)``."""
        inside = np.asarray(x)[..., SCORED:-SCORED, SCORED:-SCORED]
        return inside.reshape(-1, *inside.shape[-2:])

    def quality(self, x: Tensor, margin: int) -> float:
        """PSNR (dB) of a scene that has ``margin`` unmeasured pixels on each side."""
        inside = x[..., margin : margin + self.y.shape[-2], margin : margin + self.y.shape[-1]]
        return psnr(self.inner(inside), self.inner(_truth(self)), 1.0)

    def by_band(self) -> list[Trial]:
        """Each band as a trial of its own."""
        found = []
        for k, band in enumerate(self.profile.bands):
            physics = sensor_physics((band,), FULL, MARGIN)
            found.append(Trial(self.truth[:, k : k + 1], self.y[:, k : k + 1], physics, replace(self.profile, bands=(band,))))
        return found


def sensor(nyquist: float, snr: float, bands: int = 1) -> SensorProfile:
    """A 12-bit sensor with a given SNR at mid signal, 70 % of that variance shot noise; bands are alike."""
    variance = (0.5 * FULL / snr) ** 2
    noise = Noise(float(np.sqrt(0.3 * variance)), float(0.7 * variance / (0.5 * FULL)))
    names = {"PAN": "pan"} if bands == 1 else dict(zip(("R", "G", "B", "NIR")[:bands], ("red", "green", "blue", "nir"), strict=False))
    mtf = Mtf("gaussian", (nyquist, nyquist))
    return SensorProfile("benchmark", "raw", 12, tuple(Band(n, 0.6, mtf, noise, common_name=c) for n, c in names.items()))


def trial(truth: np.ndarray, profile: SensorProfile, seed: int) -> Trial:
    """Simulate a measurement of a scene ``(C, H, W)``."""
    x = torch.from_numpy(truth)[None]
    physics = sensor_physics(profile.bands, FULL, MARGIN)
    return Trial(x, physics(x, seed=seed), physics, profile)


def chosen(image: np.ndarray, bands: int) -> np.ndarray:
    """Panchromatic mean or first bands, ``(bands, H, W)`` float32."""
    image = image.astype(np.float32)
    return image.mean(0, keepdims=True) if bands == 1 else image[:bands]


def tiles(data: Path, folder: str, start: int, stop: int, bands: int = 1) -> list[np.ndarray]:
    """NAIP tiles ``(bands, H, W)`` in [0, 1]."""
    paths = sorted((data / "naip_rgbn_60cm" / folder).glob("*.webp"))[start:stop]
    return [chosen(read_image(p), bands) / 255 for p in paths]


def frames(data: Path, bands: int = 1) -> list[np.ndarray]:
    """Middles of two drone frames of the held-out source, 512 x 512 measured pixels; they have no fourth band."""
    names = ("garfield_x4_IMG_161122_163234_0000_RGB.tif", "garfield_x4_IMG_161122_164703_0136_RGB.tif")
    side, found = 512 + 2 * MARGIN, []
    for name in names:
        image = chosen(read_image(data / "drone_linear12" / "train" / name), bands) / FULL
        row, column = (n // 2 - side // 2 for n in image.shape[1:])
        found.append(np.ascontiguousarray(image[:, row : row + side, column : column + side]))
    return found if bands <= 3 else []


def mean_spectrum(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Radial frequencies and mean power spectrum per pixel of images, windowed."""
    images = [i.mean(0) for i in images]
    n = images[0].shape[0]
    window = np.outer(np.hanning(n), np.hanning(n))
    power = np.mean([np.abs(np.fft.fft2((i - i.mean()) * window)) ** 2 for i in images], 0) / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None])
    edges = np.linspace(0, radius.max() + 1e-9, 90)
    index = np.digitize(radius.ravel(), edges) - 1
    count = np.bincount(index, minlength=89)
    mean = np.bincount(index, power.ravel(), minlength=89) / np.maximum(count, 1)
    middle = (edges[:-1] + edges[1:]) / 2
    return middle[count > 0], mean[count > 0]


def wiener(t: Trial, spectrum: tuple[np.ndarray, np.ndarray]) -> Tensor:
    """Wiener deconvolution with a given mean power spectrum, reflected borders."""
    pad = 32
    y = F.pad(t.y, (pad,) * 4, mode="reflect")
    level = float(y.mean())
    noise = float(t.physics.noise_model.variance(t.y).mean())
    shape = y.shape[-2:]
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    power = torch.from_numpy(np.exp(np.interp(radius, spectrum[0], np.log(spectrum[1])))).float()
    transfer = t.physics._transfer(t.physics.psf, (shape[0], shape[1]))
    response = transfer.conj() * power / (transfer.abs().square() * power + noise)
    x = torch.fft.irfft2(torch.fft.rfft2(y - level) * response, s=shape) + level
    return x[..., pad:-pad, pad:-pad]


def total_variation(t: Trial, start: Tensor, weight: float, iterations: int = 100) -> Tensor:
    """TV deconvolution by deepinv's FISTA, with the mean noise level; the scene's margins are unknowns."""
    deviation = float(t.physics.noise_model.variance(t.y).mean().sqrt())
    physics = SensorPhysics(t.physics.psf, t.physics.noise_model, MARGIN)
    physics.set_noise_model(GaussianNoise(deviation))
    first = F.pad(start, (MARGIN,) * 4, mode="replicate")
    model = FISTA(
        data_fidelity=L2(), prior=TVPrior(n_it_max=20), lambda_reg=weight * deviation * 0.1, stepsize=1.0, max_iter=iterations,
        custom_init=lambda *_: (first, first),
    )  # fmt: skip
    with torch.no_grad():
        return model(t.y, physics)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def tuned_weight(data: Path, profile: SensorProfile, spectrum: tuple[np.ndarray, np.ndarray]) -> float:
    """TV weight with the best mean PSNR on validation tiles 0 to 3."""
    trials = [trial(x, profile, 100 + k) for k, x in enumerate(tiles(data, "val", 0, 4))]
    starts = [wiener(t, spectrum) for t in trials]

    def quality(weight: float) -> float:
        found = [psnr(t.inner(total_variation(t, s, weight)), t.inner(_truth(t)), 1.0) for t, s in zip(trials, starts, strict=True)]
        return float(np.mean(found))

    return max(WEIGHTS, key=quality)


def _truth(t: Trial) -> Tensor:
    return t.truth[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def timed(action: Callable[[], Tensor]) -> tuple[np.ndarray, float]:
    """Result and seconds."""
    began = time.perf_counter()
    return action().numpy(), time.perf_counter() - began


def score(
    t: Trial, spectrum: tuple[np.ndarray, np.ndarray], weight: float, options: list[RestoreOptions], known: dict[str, float]
) -> dict[str, float]:
    """Figures of all methods on one trial; those of some may be known."""
    truth = t.inner(_truth(t))
    found: dict[str, tuple[np.ndarray, float]] = {}
    figures = {k: v for k, v in known.items() if k.split("/")[0] in {*CLASSICAL, *(o.method for o in options)}}
    if "TV/psnr" not in figures:
        parts = t.by_band()
        found = {"measurement": (t.y.numpy(), 0.0), "Wiener": timed(lambda: torch.cat([wiener(p, spectrum) for p in parts], 1))}
        starts = [wiener(p, spectrum) for p in parts]
        found["TV"] = timed(lambda: torch.cat([total_variation(p, s, weight) for p, s in zip(parts, starts, strict=True)], 1))
    for o in options:
        if f"{o.method}/psnr" in figures:
            continue
        began = time.perf_counter()
        restored, std, _ = imaging.restore(t.y[0].numpy() * FULL, t.profile, options=o)
        found[o.method] = (restored / FULL, time.perf_counter() - began)
        for level in (0.90, 0.95) if np.isfinite(std).all() else ():
            figures[f"{o.method}/coverage_{level:.2f}"] = coverage(t.inner(restored / FULL), t.inner(std / FULL), truth, level)
    for name, (image, seconds) in found.items():
        inner = t.inner(image)
        likeness = float(np.mean([ssim(a, b, 1.0) for a, b in zip(inner, truth, strict=True)]))
        figures |= {f"{name}/psnr": psnr(inner, truth, 1.0), f"{name}/ssim": likeness, f"{name}/seconds": seconds}
    return figures


def table(results: dict[str, dict[str, dict[str, float]]], methods: list[str]) -> str:
    """Markdown table of means over scenes."""
    lines = ["| sensor | method | PSNR (dB) | over Wiener | over TV | SSIM | s / scene | 90 % | 95 % |", "|" + "---|" * 9]
    for name, scenes in results.items():
        mean = {k: float(np.mean([s[k] for s in scenes.values()])) for k in next(iter(scenes.values()))}
        for m in (*CLASSICAL, *methods):
            p = mean[f"{m}/psnr"]
            cover = " | ".join(f"{mean[f'{m}/coverage_{v}']:.3f}" if f"{m}/coverage_{v}" in mean else "" for v in ("0.90", "0.95"))
            lines.append(
                f"| {name} | {m} | {p:.2f} | {p - mean['Wiener/psnr']:+.2f} | {p - mean['TV/psnr']:+.2f} | {mean[f'{m}/ssim']:.4f} "
                f"| {mean[f'{m}/seconds']:.1f} | {cover} |"
            )
    return "\n".join(lines)


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that benchmarks of a prior share: where the data are, which prior, where the table goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default=DEFAULT_PRIOR)
    parser.add_argument("--output", type=Path)
    return parser


def main() -> None:
    """Parse, run, print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--bands", type=int, default=1, choices=[1, 3, 4])
    parser.add_argument("--methods", nargs="+", default=[AMORTISED, "vble-xz"])
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--scenes", type=int, default=12, help="how many of the 20 tiles")
    parser.add_argument("--work", type=Path, help="JSON file of finished scenes")
    parser.add_argument("--known", type=Path, help="JSON file of an earlier run, whose figures are taken over")
    arguments = parser.parse_args()
    changed = {} if arguments.iterations is None else {"iterations": arguments.iterations}
    bands = arguments.bands
    options = [
        RestoreOptions(prior="auto" if m in {AMORTISED, *REGULARIZERS} else arguments.prior, method=m, **changed) for m in arguments.methods
    ]
    scenes = {f"tile {20 + k}": x for k, x in enumerate(tiles(arguments.data, "val", 20, 20 + arguments.scenes, bands))}
    scenes |= {f"frame {k}": x for k, x in enumerate(frames(arguments.data, bands))}
    spectrum = mean_spectrum(tiles(arguments.data, "train", 0, 420))
    done = json.loads(arguments.work.read_text()) if arguments.work and arguments.work.exists() else {}
    known = json.loads(arguments.known.read_text()) if arguments.known else {}
    for name, (nyquist, snr) in SENSORS.items():
        profile = sensor(nyquist, snr, bands)
        results, earlier = done.setdefault(name, {}), known.get(name, {})
        tuning = any(s not in results and s not in earlier for s in scenes)
        weight = tuned_weight(arguments.data, sensor(nyquist, snr), spectrum) if tuning else 0.0
        for k, (scene, truth) in enumerate(scenes.items()):
            if scene not in results:
                results[scene] = score(trial(truth, profile, k), spectrum, weight, options, earlier.get(scene, {}))
                if arguments.work:
                    arguments.work.write_text(json.dumps(done))
        print(f"{name}: TV weight {weight or 'as before'}", flush=True)
    text = table(done, arguments.methods)
    print(text)
    for part in sorted({s.split()[0] for r in done.values() for s in r}, reverse=True):
        some = {n: {s: f for s, f in r.items() if s.startswith(part)} for n, r in done.items()}
        print(f"\nOnly {part}s:\n" + table(some, arguments.methods))
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
