"""What a prior knows: rate and distortion beside image codecs, the spread of its decoder, and scenes drawn from it.

    python scripts/evaluate_prior.py --data DATA_FOLDER [--prior NAME|DIR] [--sets naip kodak drone] [--samples PICTURE.png]

Sets are tiles of naip_rgbn_60cm/val, Kodak, and two drone frames (garfield) that no released prior was trained on. A prior of one channel
gets the mean of the bands, others their first bands. PSNR against 255 with uniform noise in place of rounding; the outer 8 pixels are not
scored, for the codecs neither. The rate scale multiplies the image before encoding. Codecs code the image rounded to 8 bits; what they
spend for headers, some 0.01 to 0.02 bits per pixel here, is theirs. Bits are per pixel, all channels together.

The last lines give the mean gain over each codec at equal rate from 0.5 to 2 bits per pixel, and, of the training images, the amplitude
spectrum relative to the 1/f law of scenes: an estimate of their MTF.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imaging.priors import DEFAULT_PRIOR, LatentPrior, load_prior
from imaging.priors.pictures import write_picture
from imaging.priors.rate import nats_to_bits
from imaging.priors.sampling import sample_prior
from imaging.training import read_image

BORDER = 8
INNER = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
SCALES = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
try:
    import pillow_jxl  # noqa: F401  (registers the codec with Pillow)

    CODECS = ("JPEG 2000", "WebP", "JPEG XL")
except ImportError:
    CODECS = ("JPEG 2000", "WebP")


def images(data: Path, name: str, channels: int, count: int) -> np.ndarray:
    """``(N, C, H, W)`` grey levels of 255, float32."""
    if name == "naip":
        found = [read_image(p).astype(np.float32) for p in sorted((data / "naip_rgbn_60cm" / "val").glob("*.webp"))[:count]]
    elif name == "kodak":
        found = [
            np.moveaxis(i, 1, 2) if i.shape[1] > i.shape[2] else i
            for i in map(read_image, sorted((data / "kodak24").glob("*.png"))[:count])
        ]
    else:
        frames = sorted((data / "drone_linear12" / "train").glob("garfield_*.tif"))[:2]
        found = [read_image(p)[:, :512, :512].astype(np.float32) * (255 / 4095) for p in frames]
    stacked = np.stack(found).astype(np.float32)
    return stacked.mean(1, keepdims=True) if channels == 1 else stacked[:, :channels]


def coded(image: np.ndarray, kind: str, setting: float) -> tuple[float, float]:
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


def curve(tiles: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean rate and PSNR of the mean error over images, for a range of settings."""
    settings = np.geomspace(0.2, 5, 16) * tiles.shape[1] if kind == "JPEG 2000" else np.linspace(10, 100, 19)
    points = np.array([np.mean([coded(t, kind, s) for t in tiles], 0) for s in settings])
    points = points[points[:, 0].argsort()]
    return points[:, 0], 10 * np.log10(255**2 / points[:, 1])


@torch.no_grad()
def prior_point(prior: LatentPrior, tiles: torch.Tensor, scale: float) -> tuple[float, float, np.ndarray]:
    """Bits per pixel, PSNR, and error variance over predicted variance by decile of brightness."""
    torch.manual_seed(0)
    bits, errors, ratios, levels = [], [], [], []
    for x in tiles.split(4):
        z, cost = prior.perturb(x * scale)
        bits.append(float(nats_to_bits(cost.sum())) * x.shape[1] / x.numel())
        error = (prior.decode(z) / scale - x)[INNER]
        errors.append(float(error.square().mean()))
        ratios.append((error / (prior.decode_std(z) / scale)[INNER]).square().flatten())
        levels.append(x[INNER].flatten())
    ratio, level = torch.cat(ratios).numpy(), torch.cat(levels).numpy()
    parts = np.array_split(level.argsort(), 10)
    return float(np.mean(bits)), float(-10 * np.log10(np.mean(errors))), np.array([ratio[p].mean() for p in parts])


def report(prior: LatentPrior, tiles: np.ndarray, scales: tuple[float, ...]) -> None:
    """Print the table of one set."""
    x, curves = torch.from_numpy(tiles) / 255, {}
    for kind in CODECS if tiles.shape[1] in {1, 3} else CODECS[:1]:
        curves[kind] = curve(tiles, kind)
    print("| rate scale | bits per pixel | PSNR (dB) | " + " | ".join(f"{k} at that rate" for k in curves) + " |")
    print("|---" * (3 + len(curves)) + "|")
    points = []
    for scale in scales:
        rate, quality, ratio = prior_point(prior, x, scale)
        points.append((rate, quality))
        others = " | ".join(f"{np.interp(rate, *c):.2f}" if c[0][0] <= rate <= c[0][-1] else "" for c in curves.values())
        print(f"| {scale} | {rate:.3f} | {quality:.2f} | {others} |", flush=True)
        if scale == 1.0:
            spread = ratio
    print("\nsquared error over predicted variance by decile of brightness: " + " ".join(f"{r:.2f}" for r in spread))
    if len(points) > 1:
        rates, own = np.array(sorted(points)).T
        grid = np.linspace(max(0.5, rates[0]), min(2.0, rates[-1]), 31)
        gains = ", ".join(f"{np.mean(np.interp(grid, rates, own) - np.interp(grid, *c)):+.2f} dB over {k}" for k, c in curves.items())
        print(f"mean gain from {grid[0]:.2f} to {grid[-1]:.2f} bits per pixel: {gains}")
        print(f"at 1 bit per pixel: {np.interp(1.0, rates, own):.2f} dB\n")


def sharpness(tiles: np.ndarray) -> str:
    """Amplitude spectrum of panchromatic means times frequency, relative to that from 0.04 to 0.12 cycles per pixel."""
    size = tiles.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.mean([np.abs(np.fft.fft2((t - t.mean()) * window)) ** 2 for t in tiles.mean(1)], 0)
    frequency = np.abs(np.fft.fftfreq(size))

    def amplitude(low: float, high: float) -> float:
        band, across = (frequency >= low) & (frequency < high), frequency < 0.03
        along_both = np.concatenate([(power * frequency**2)[across][:, band].ravel(), (power.T * frequency**2)[across][:, band].ravel()])
        return float(np.sqrt(along_both.mean()))

    base = amplitude(0.04, 0.12)
    return ", ".join(f"{amplitude(f - 0.02, f + 0.02) / base:.2f} at {f}" for f in (0.25, 0.35, 0.48))


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default=DEFAULT_PRIOR)
    parser.add_argument("--sets", nargs="+", default=["naip", "kodak", "drone"], choices=["naip", "kodak", "drone"])
    parser.add_argument("--count", type=int, default=16, help="images of a set, at most")
    parser.add_argument("--samples", type=Path, help="draw four scenes from the prior into this PNG; minutes with a context model")
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    for name in arguments.sets:
        if name != "naip" and prior.channels > 3:
            continue
        print(f"{name}:\n")
        report(prior, images(arguments.data, name, prior.channels, arguments.count), SCALES if prior.density == "uniform" else (1.0,))
    for folder in ("naip_rgbn_60cm", "usgs_rgb_30cm"):
        tiles = [read_image(p) for p in sorted((arguments.data / folder / "train").glob("*.webp"))]
        tiles = np.stack([t[:3].astype(np.float32) for t in tiles if t.shape[1:] == (256, 256)])
        print(f"{folder}: spectrum relative to 1/f at cycles per pixel: {sharpness(tiles)}")
    if arguments.samples:
        write_picture([torch.cat([sample_prior(prior, 128, seed=k) for k in range(4)], 3).clamp(0, 1)], arguments.samples)


if __name__ == "__main__":
    main()
