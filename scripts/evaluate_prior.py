"""Rate and distortion of a prior on validation tiles, beside JPEG 2000 and WebP at the same rate, and the spread of its decoder.

    python scripts/evaluate_prior.py --data DATA_FOLDER [--prior pan-small] [--tiles 16]

Panchromatic means of naip_rgbn_60cm/val tiles, PSNR against 255 with uniform noise in place of rounding; the outer 8 pixels are not scored,
for the codecs neither. The rate scale multiplies the tile before encoding. Codecs work on the tile rounded to 8 bits and may spend their
overhead for headers, which is some 0.01 to 0.02 bits per pixel here.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imaging.priors import LatentPrior, load_prior
from imaging.priors.data import read_image
from imaging.priors.rate import nats_to_bits

BORDER = 8


def coded(tile: np.ndarray, kind: str, setting: float) -> tuple[float, float]:
    """Bits per pixel and mean squared error (grey levels of 255) of one codec setting."""
    image, buffer = Image.fromarray(tile.round().astype(np.uint8)), io.BytesIO()
    if kind == "JPEG 2000":
        image.save(buffer, "JPEG2000", quality_mode="rates", quality_layers=[8 / setting], irreversible=True)
    else:
        image.save(buffer, "WEBP", quality=setting, method=6)
    decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("L"), dtype=float)
    error = (decoded - tile)[BORDER:-BORDER, BORDER:-BORDER]
    return 8 * buffer.getbuffer().nbytes / tile.size, float(np.square(error).mean())


def curve(tiles: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean rate and PSNR of the mean error over tiles, for a range of settings."""
    settings = np.geomspace(0.25, 5, 14) if kind == "JPEG 2000" else np.linspace(20, 100, 17)
    points = np.array([np.mean([coded(t, kind, s) for t in tiles], 0) for s in settings])
    points = points[points[:, 0].argsort()]
    return points[:, 0], 10 * np.log10(255**2 / points[:, 1])


@torch.no_grad()
def prior_point(prior: LatentPrior, tiles: torch.Tensor, scale: float) -> tuple[float, float, np.ndarray]:
    """Bits per pixel, PSNR, and error variance over predicted variance by decile of brightness."""
    generator = torch.Generator().manual_seed(0)
    bits, errors, ratios, levels = [], [], [], []
    for x in tiles.split(4):
        latents = prior.encode(x * scale)
        z, h = (v + torch.rand(v.shape, generator=generator) - 0.5 for v in latents)
        bits.append(float(nats_to_bits(-prior.log_prob(z, h).sum())) / x.numel())
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        error = (prior.decode(z) / scale - x)[inner]
        errors.append(float(error.square().mean()))
        ratios.append((error / (prior.decode_std(z) / scale)[inner]).square().flatten())
        levels.append(x[inner].flatten())
    ratio, level = torch.cat(ratios).numpy(), torch.cat(levels).numpy()
    parts = np.array_split(level.argsort(), 10)
    return float(np.mean(bits)), float(-10 * np.log10(np.mean(errors))), np.array([ratio[p].mean() for p in parts])


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prior", default="pan-small")
    parser.add_argument("--tiles", type=int, default=16)
    arguments = parser.parse_args()
    paths = sorted((arguments.data / "naip_rgbn_60cm" / "val").glob("*.webp"))[: arguments.tiles]
    tiles = np.stack([read_image(p).astype(np.float32).mean(0) for p in paths])
    prior, x = load_prior(arguments.prior), torch.from_numpy(tiles)[:, None] / 255
    curves = {kind: curve(tiles, kind) for kind in ("JPEG 2000", "WebP")}
    print("| rate scale | bits per pixel | PSNR (dB) | " + " | ".join(f"{k} at that rate" for k in curves) + " |")
    print("|---|---|---|---|---|")
    for scale in (1.0, 0.7, 0.5, 0.35):
        rate, quality, ratio = prior_point(prior, x, scale)
        others = " | ".join(f"{np.interp(rate, *c):.2f}" for c in curves.values())
        print(f"| {scale} | {rate:.3f} | {quality:.2f} | {others} |")
        if scale == 1.0:
            spread = ratio
    print("\nsquared error over predicted variance by decile of brightness: " + " ".join(f"{r:.2f}" for r in spread))


if __name__ == "__main__":
    main()
