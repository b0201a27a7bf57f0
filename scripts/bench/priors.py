"""What a prior knows: rate and distortion beside image codecs, the spread of its decoder, and scenes drawn from it.

    python -m scripts.bench priors --data DATA_FOLDER [--prior NAME|DIR] [--sets naip kodak drone] [--samples PICTURE.png]

Sets are test tiles of NAIP, the test photographs of Kodak, and the middles of two frames of a flight that no released prior was trained
on, so many of each as --count says. A prior of one channel gets the mean of the bands, others their first bands. PSNR against 255 with
uniform noise in place of rounding; the outer 8 pixels are not scored, for the codecs neither. The rate scale multiplies the image before
encoding. Codecs code the image rounded to 8 bits; what they spend for headers, some 0.01 to 0.02 bits per pixel here, is theirs. Bits are
per pixel, all channels together.

The other tables give the squared error over the predicted variance by decile of brightness at scale 1; the mean gain over each codec at
equal rate from 0.5 to 2 bits per pixel, and the PSNR at 1; and, of the training images, the amplitude spectrum relative to the 1/f law of
scenes: an estimate of their MTF.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imaging.priors import LatentPrior, load_prior
from imaging.priors.pictures import write_picture
from imaging.priors.rate import nats_to_bits
from imaging.priors.sampling import sample_prior
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, cell, grouped, table, where
from scripts.scenes import Array, chosen
from scripts.split import frames, photographs, tiles, training_sets

BORDER = 8
SETS = ("naip", "kodak", "drone")
OPTIONS = {
    "--data": {}, "--prior": {}, "--sets": {"nargs": "+", "default": list(SETS), "choices": SETS},
    "--count": {"type": int, "default": 16, "help": "images of a set, at most"},
    "--samples": {"type": Path, "help": "draw four scenes from the prior into this PNG; minutes with a context model"},
}  # fmt: skip
INNER = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
CODECS: tuple[str, ...] = ("JPEG 2000", "WebP", "JPEG XL")
FREQUENCIES = (0.25, 0.35, 0.48)
SCALES = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
try:
    import pillow_jxl  # noqa: F401  (registers the codec with Pillow)

    AVAILABLE = CODECS
except ImportError:
    AVAILABLE = CODECS[:2]


def images(data: Path, name: str, channels: int, count: int) -> Array:
    """``(N, C, H, W)`` grey levels of 255, float32."""
    if name == "naip":
        return 255 * np.stack(list(tiles(data, "test", channels, slice(count)).values()))
    if name == "kodak":
        found = photographs(data, "test", "kodak", part=slice(count)).values()
        return 255 * np.stack([chosen(np.moveaxis(i, 1, 2) if i.shape[1] > i.shape[2] else i, channels) for i in found])
    return 255 * np.stack(list(frames(data, "test", channels, 512).values()))


def coded(image: Array, kind: str, setting: float) -> tuple[float, float]:
    """Bits per pixel and mean squared error (grey levels of 255) of one codec setting; ``(C, H, W)``."""
    rounded = np.clip(image.round(), 0, 255).astype(np.uint8)
    picture, buffer = Image.fromarray(rounded[0] if len(image) == 1 else np.moveaxis(rounded, 0, 2)), io.BytesIO()
    if kind == "JPEG 2000":
        picture.save(
            buffer, "JPEG2000", quality_mode="rates", quality_layers=[8 * len(image) / setting], irreversible=True, mct=len(image) == 3
        )
    elif kind == "WebP":
        picture.save(buffer, "WEBP", quality=setting, method=6)
    else:
        picture.save(buffer, "JXL", quality=setting)
    decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert(picture.mode), dtype=float)
    decoded = decoded[None] if decoded.ndim == 2 else np.moveaxis(decoded, 2, 0)
    return 8 * buffer.getbuffer().nbytes / image[0].size, float(np.square((decoded - image)[INNER]).mean())


def curve(images_: Array, kind: str) -> tuple[Array, Array]:
    """Mean rate and PSNR of the mean error over images, for a range of settings."""
    settings = np.geomspace(0.2, 5, 16) * images_.shape[1] if kind == "JPEG 2000" else np.linspace(10, 100, 19)
    points = np.array([np.mean([coded(t, kind, s) for t in images_], 0) for s in settings])
    points = points[points[:, 0].argsort()]
    return points[:, 0], 10 * np.log10(255**2 / points[:, 1])


@torch.no_grad()
def prior_point(prior: LatentPrior, images_: Array, scale: float, curves: dict[str, tuple[Array, Array]]) -> Record:
    """Bits per pixel and PSNR, that of the codecs at this rate, and error variance over predicted variance by decile of brightness."""
    torch.manual_seed(0)
    bits, errors, ratios, levels = [], [], [], []
    for x in (torch.from_numpy(images_) / 255).split(4):
        z, cost = prior.perturb(x * scale)
        bits.append(float(nats_to_bits(cost.sum())) * x.shape[1] / x.numel())
        error = (prior.decode(z) / scale - x)[INNER]
        errors.append(float(error.square().mean()))
        ratios.append((error / (prior.decode_std(z) / scale)[INNER]).square().flatten())
        levels.append(x[INNER].flatten())
    ratio, level = torch.cat(ratios).numpy(), torch.cat(levels).numpy()
    rate = float(np.mean(bits))
    others = {k: float(np.interp(rate, *c)) for k, c in curves.items() if c[0][0] <= rate <= c[0][-1]}
    spread = [float(ratio[p].mean()) for p in np.array_split(level.argsort(), 10)]
    return {"bits": rate, "psnr": float(-10 * np.log10(np.mean(errors))), **others, "spread": spread}


def gains(records: Records, curves: dict[str, tuple[Array, Array]]) -> Record:
    """Mean gain over each codec at equal rate, and PSNR at 1 bit per pixel."""
    rates, own = np.array(sorted((r["bits"], r["psnr"]) for r in records)).T
    grid = np.linspace(max(0.5, rates[0]), min(2.0, rates[-1]), 31)
    found = {k: float(np.mean(np.interp(grid, rates, own) - np.interp(grid, *c))) for k, c in curves.items()}
    return {"from": float(grid[0]), "to": float(grid[-1]), "psnr": float(np.interp(1.0, rates, own)), **found}


def sharpness(images_: Array) -> Record:
    """Amplitude spectrum of panchromatic means times frequency, relative to that from 0.04 to 0.12 cycles per pixel."""
    size = images_.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.mean([np.abs(np.fft.fft2((t - t.mean()) * window)) ** 2 for t in images_.mean(1)], 0)
    frequency = np.abs(np.fft.fftfreq(size))

    def amplitude(low: float, high: float) -> float:
        band, across = (frequency >= low) & (frequency < high), frequency < 0.03
        along_both = np.concatenate([(power * frequency**2)[across][:, band].ravel(), (power.T * frequency**2)[across][:, band].ravel()])
        return float(np.sqrt(along_both.mean()))

    base = amplitude(0.04, 0.12)
    return {f"at {f}": amplitude(f - 0.02, f + 0.02) / base for f in FREQUENCIES}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All sets."""
    prior = load_prior(arguments.prior)
    for name in arguments.sets:
        if name == "naip" or prior.channels <= 3:
            found = images(arguments.data, name, prior.channels, arguments.count)
            curves = {kind: curve(found, kind) for kind in (AVAILABLE if prior.channels in {1, 3} else AVAILABLE[:1])}
            key = {"prior": arguments.prior, "set": name}
            points = [
                results.once(key | {"scale": scale}, prior_point, prior, found, scale, curves)
                for scale in (SCALES if prior.density == "uniform" else SCALES[2:3])
            ]
            if len(points) > 1:
                results.once(key | {"of": "gains"}, gains, points, curves)
    for folder, read in training_sets(arguments.data).items():
        square = np.stack([chosen(t, 3) for t in read if t.shape[1:] == (256, 256)])
        results.once({"folder": folder}, sharpness, square)
    if arguments.samples:
        write_picture([torch.cat([sample_prior(prior, 128, seed=k) for k in range(4)], 3).clamp(0, 1)], arguments.samples)


def tables(records: Records) -> dict[str, str]:
    """For each prior and set: by rate scale, the spread at scale 1, the gains; the sharpness of the training images."""
    found = {}
    for prior, name in dict.fromkeys((r["prior"], r["set"]) for r in records if "set" in r):
        some = where(records, prior=prior, set=name)
        codecs = [k for k in CODECS if any(k in r for r in some)]
        columns = {"bits": ("bits per pixel", ".3f"), "psnr": ("PSNR (dB)", ".2f")} | {k: (f"{k} at that rate", ".2f") for k in codecs}
        points = [r for r in some if "scale" in r]
        found[f"{prior} {name}"] = grouped(points, {"scale": "rate scale"}, columns)
        spread = [cell(r["spread"], ".2f") for r in points if r["scale"] == 1.0 and "spread" in r]
        found[f"{prior} {name} spread"] = table(["squared error over predicted variance by decile of brightness"], [spread])
        gained = {k: (f"mean gain over {k} (dB)", "+.2f") for k in codecs} | {"psnr": ("PSNR (dB) at 1 bit per pixel", ".2f")}
        found[f"{prior} {name} gains"] = grouped(where(some, of="gains"), {"from": "from bits per pixel", "to": "to"}, gained)
    sharp = {f"at {f}": (f"{f} cycles per pixel", ".2f") for f in FREQUENCIES}
    return found | {"sharpness": grouped([r for r in records if "folder" in r], {"folder": "training images"}, sharp)}
