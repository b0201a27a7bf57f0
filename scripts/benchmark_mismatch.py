"""What happens when sensor or scene are not what is assumed: PSNR and coverage under mismatch.

    python scripts/benchmark_mismatch.py --data DATA_FOLDER [--prior NAME|DIR] [--methods amortised vble-xz] [--output table.md]

Each scene is measured by the sensor "raw" of scripts/benchmark_restoration.py, or one whose MTF at Nyquist is 20 % lower or higher or
whose noise deviation is 30 % lower or higher, and restored as if it were "raw". Scenes of another ground sample distance are the
benchmark's tiles averaged over 2 x 2 pixels (1.2 m) and USGS tiles (0.3 m; training images of the released priors, but not of the pass); of
another land cover, drone frames of a held-out source in linear light. Otherwise scenes are those of the benchmark's tiles, six of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from benchmark_restoration import FULL, MARGIN, SENSORS, benchmark_parser, frames, sensor, tiles, trial

import imaging
from imaging.amortised import AmortisedReconstructor, load_network
from imaging.metrics import block_mean, coverage, crps, interval_width, psnr
from imaging.moments import Posterior
from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from imaging.sensors import Noise, SensorProfile, sensor_physics
from imaging.training import read_image

NYQUIST, SNR = SENSORS["raw (MTF 0.15, SNR 90)"]
COLUMNS = ("PSNR (dB)", "90 %", "95 %", "95 %, means of 4 x 4", "width of 95 % (DN)", "CRPS (DN)")


def louder(profile: SensorProfile, factor: float) -> SensorProfile:
    """The sensor with its noise deviation times a factor."""
    bands = []
    for band in profile.bands:
        if band.noise is None:
            raise ValueError(f"band {band.name} has no noise model")
        bands.append(replace(band, noise=Noise(factor * band.noise.sigma0, factor**2 * band.noise.gain)))
    return replace(profile, bands=tuple(bands))


Fit = Callable[[torch.Tensor, SensorProfile], tuple[Posterior, int]]
"""From a measurement and the sensor that is assumed to a posterior and the unmeasured pixels around it."""


def fits(prior: str) -> dict[str, Fit]:
    """The methods, by name."""
    inference, vble = AmortisedReconstructor(load_network()), VBLE(load_prior(prior), FitSettings())
    margin = vble.prior.border + 8
    return {
        "amortised": lambda y, s: (inference.fit(y, sensor_physics(s.bands, FULL, MARGIN)), MARGIN),
        "vble-xz": lambda y, s: (vble.fit_mixture(y, sensor_physics(s.bands, FULL, margin), border=0), margin),
    }


def figures(fit: Fit, truth: np.ndarray, actual: SensorProfile, assumed: SensorProfile, seed: int) -> list[float]:
    """One scene, in the order of `COLUMNS`."""
    t = trial(truth, actual, seed)
    posterior, margin = fit(t.y, assumed)
    mean, std = posterior.moments()
    blocks = posterior.moments(block=4)
    inside = slice(margin + 8, -(margin + 8))
    x, m, s = (np.asarray(v, dtype=float)[0, :, inside, inside] * FULL for v in (_aligned(t.truth, margin), mean, std))
    part = slice((margin + 8) // 4, -((margin + 8) // 4))
    wide = np.asarray(blocks.std, dtype=float)[0, :, part, part] * FULL
    true, found = (block_mean(v, 4)[..., : wide.shape[-2], : wide.shape[-1]] for v in (x, m))
    return [
        psnr(m, x, FULL), coverage(m, s, x, 0.90), coverage(m, s, x, 0.95), coverage(found, wide, true, 0.95), interval_width(s, 0.95),
        crps(m, s, x),
    ]  # fmt: skip


def _aligned(truth: torch.Tensor, margin: int) -> torch.Tensor:
    """The truth with as many pixels around the measurement as the posterior has."""
    extra = margin - MARGIN
    return torch.nn.functional.pad(truth, (extra,) * 4)


def main() -> None:
    """Parse, run, print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--methods", nargs="+", default=["amortised", "vble-xz"])
    arguments = parser.parse_args()
    known = fits(arguments.prior)
    assumed = sensor(NYQUIST, SNR)
    own = tiles(arguments.data, "val", 20, 26)
    shrunk = [x.reshape(1, x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4)) for x in tiles(arguments.data, "val", 20, 32)]
    paths = sorted((arguments.data / "usgs_rgb_30cm" / "train").glob("*.webp"))[7::8][:6]
    fine = [read_image(p).astype(np.float32).mean(0, keepdims=True)[:, :256, :256] / 255 for p in paths]
    cases = {
        "as assumed": (own, assumed),
        "MTF 20 % lower": (own, sensor(0.8 * NYQUIST, SNR)),
        "MTF 20 % higher": (own, sensor(1.2 * NYQUIST, SNR)),
        "noise 30 % lower": (own, louder(assumed, 0.7)),
        "noise 30 % higher": (own, louder(assumed, 1.3)),
        "1.2 m": (shrunk, assumed),
        "0.3 m": (fine, assumed),
        "drone frames, linear light": (frames(arguments.data), assumed),
    }
    lines = ["| case | method | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, (scenes, actual) in cases.items():
        for method in arguments.methods:
            m = np.mean([figures(known[method], x, actual, assumed, 500 + k) for k, x in enumerate(scenes)], 0)
            lines.append(f"| {name} | {method} | {m[0]:.2f} | {m[1]:.3f} | {m[2]:.3f} | {m[3]:.3f} | {m[4]:.1f} | {m[5]:.2f} |")
            print(lines[-1], flush=True)
    text = f"imaging-restore {imaging.__version__}, prior {arguments.prior}\n\n" + "\n".join(lines)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
