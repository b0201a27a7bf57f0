"""Recipes of super-resolution models: TOML tables to settings and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.releases import Table
from imaging.superres.data import CropSettings, Degradation, Pairs, tiles_of
from imaging.superres.search import SearchSettings
from imaging.superres.space import SearchSpace
from imaging.superres.training import TrainingSettings
from imaging.training import find_images, full_scale


@dataclass(frozen=True)
class Recipe:
    """A recipe of a super-resolution model, made from its TOML ``text``.

    ``first`` trains in float and ``second`` quantisation-aware; both have random ``crops``, and ``search_crops`` are those of the search,
    the same ones where the recipe has none for it. ``normalisation`` is that of the derived network. ``data`` has patterns of images,
    ``train`` and ``validation``, of which every ``validation_every``-th is used, and the ``side`` of tiles.
    """

    text: str
    name: str
    title: str
    space: SearchSpace
    normalisation: str
    search: SearchSettings
    degradation: Degradation
    crops: CropSettings
    search_crops: CropSettings
    first: TrainingSettings
    second: TrainingSettings
    data: Table

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """From TOML."""
        recipe = Table.parse(text)
        crops = recipe.under("crops").make(CropSettings)
        return cls(
            text=text, name=recipe.get("name", str, ""), title=recipe.get("title", str, ""),
            space=recipe.under("space").make(SearchSpace),
            normalisation=recipe.get("normalisation", str, "adq"),
            search=recipe.under("search").make(SearchSettings),
            degradation=recipe.under("degradation").make(Degradation),
            crops=crops,
            search_crops=recipe.under("search_crops").make(CropSettings) if "search_crops" in recipe.values else crops,
            first=recipe.under("training").make(TrainingSettings),
            second=recipe.under("quantised_training").make(TrainingSettings),
            data=recipe.under("data"),
        )  # fmt: skip

    def tiles(self, sources: Sequence[Path], device: torch.device, part: str = "all") -> Tensor:
        """Tiles of the training images; ``part`` is ``"all"``, or ``"even"`` or ``"odd"`` images."""
        start, step = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}[part]
        images = find_images(sources, self.data.get("train", tuple[str, ...]))[start::step]
        return tiles_of(images, self.data.get("side", int, 256), self.space.bands).to(device)

    def pairs(self, tiles: Tensor, seed: int, crops: CropSettings | None = None) -> Pairs:
        """Random pairs of tiles, with crops as the trainings' unless given."""
        return Pairs(tiles, self.space.bands, self.space.scale, self.degradation, crops or self.crops, seed)

    def validation(self, sources: Sequence[Path], device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
        """Coarse and fine validation images ``(1, bands, H, W)``."""
        coarse, fine = list[Tensor](), list[Tensor]()
        for image in find_images(sources, self.data.get("validation", tuple[str, ...]))[:: self.data.get("validation_every", int, 1)]:
            generator = torch.Generator(device).manual_seed(len(fine))
            fine.append(whole_image(image, self.space.bands, self.space.scale).to(device))
            coarse.append(self.degradation.apply(fine[-1], self.space.scale, generator))
        return coarse, fine


def whole_image(image: NDArray[Any], bands: int, scale: int) -> Tensor:
    """An image as ``(1, bands, H, W)`` in [0, 1], its sides cut to multiples of the scale; one band is the mean of all."""
    pixels = torch.from_numpy(image.astype(np.float32) / full_scale(image))
    pixels = pixels.mean(0, keepdim=True) if bands == 1 else pixels[:bands]
    if len(pixels) < bands:
        pixels = pixels[:1].expand(bands, -1, -1)
    height, width = (n // scale * scale for n in pixels.shape[1:])
    return pixels[None, :, :height, :width].contiguous()
