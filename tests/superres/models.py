"""Small spaces, data and models that the tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imaging.releases import digest_of
from imaging.superres import Genotype, Network, SearchSpace, blueprint, export
from imaging.superres.data import CropSettings, Degradation, Pairs, tiles_of


def tiny_space(**values: object) -> SearchSpace:
    """A basic space of eight channels."""
    given: dict[str, object] = {"channels": 8, "cells": 1, "head": 1, "bands": 1, "scale": 2, "bits": (4, 8)}
    return SearchSpace(**(given | values))  # type: ignore[arg-type]


def pairs(bands: int = 1, scale: int = 2, seed: int = 0, **crops: object) -> Pairs:
    """Crops of smooth random images."""
    rng = np.random.default_rng(5)
    images = []
    for _ in range(4):
        coarse = torch.from_numpy(rng.random((1, 3, 12, 12), np.float32))
        fine = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)[0]
        images.append((255 * fine.numpy()).astype(np.uint8))
    settings = CropSettings(**({"batch": 4, "crop": 16} | crops))  # type: ignore[arg-type]
    return Pairs(tiles_of(images, 64, bands), bands, scale, Degradation(), settings, seed)


def quantised(space: SearchSpace, seed: int = 0, bits: int | None = 8) -> tuple[Network, Tensor]:
    """A random network with quantisers, in evaluation mode, and what they were calibrated with; None takes the genotype's own bits."""
    torch.manual_seed(seed)
    genotype = Genotype.random(space, seed)
    network = Network(blueprint(genotype.at(bits) if bits else genotype))
    x = torch.rand(2, space.bands, 24, 20, generator=torch.Generator().manual_seed(seed))
    x = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    with torch.no_grad():  # a residual as large as a trained one
        last = next(n.name for n in reversed(network.plan.nodes) if n.kind == "conv" and not n.fine)
        network.unit(last).conv.weight.mul_(0.15 / network.residual(x).abs().max())
    return network.quantise([x]).eval(), x


def release(folder: Path, *, bands: int = 1, scale: int = 2, name: str = "tiny") -> Path:
    """A model folder with a random network."""
    from safetensors.torch import save_file

    space = tiny_space(bands=bands, scale=scale, bits=(8,))
    genotype = Genotype.random(space, 1)
    network, _ = quantised(space, 1)
    folder.mkdir()
    (folder / "genotype.json").write_text(genotype.to_json())
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "quantised.safetensors")
    plain = {k: v.contiguous() for k, v in network.state_dict().items() if "quantisers" not in k and ".of_" not in k}
    save_file(plain, folder / "weights.safetensors")
    digests = (digest_of(folder / f"{kind}.safetensors") for kind in ("weights", "quantised"))
    recorded = '[release]\nsha256 = "{}"\nquantised_sha256 = "{}"\n'.format(*digests)
    (folder / "recipe.toml").write_text(f'name = "{name}"\nfamily = "superres"\n\n{recorded}')
    export(network, name, folder / "int8.onnx", quantised=True)
    export(network, name, folder / "float32.onnx", quantised=False)
    return folder
