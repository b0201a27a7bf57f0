"""Recipes of super-resolution models: TOML tables to settings and data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.errors import InputError
from imaging.priors.data import find_images
from imaging.superres.data import CropSettings, Degradation, Pairs, tiles_of
from imaging.superres.search import SearchSettings
from imaging.superres.space import SearchSpace
from imaging.superres.training import TrainingSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S")


def settings(kind: type[S], table: Any, name: str) -> S:
    """Settings from a table of a recipe.

    Raises
    ------
    InputError
        For unknown keys or values that are refused.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(table, dict):
        raise InputError(f"[{name}] must be a table")
    for key in table:
        if key not in known:
            raise InputError(f"unknown key {key!r} in [{name}]; known are {', '.join(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except (TypeError, ValueError) as error:
        raise InputError(f"[{name}]: {error}") from error


@dataclass(frozen=True)
class Recipe:
    """A recipe of a super-resolution model.

    Attributes
    ----------
    text : str
        As written.
    name, title : str
        Of the model.
    space : SearchSpace
        Where its genotype comes from.
    normalisation : str
        Of the derived network.
    search : SearchSettings
        Of the search.
    degradation : Degradation
        From fine to coarse images.
    crops, search_crops : CropSettings
        Random crops of the trainings and of the search, those of the trainings where the recipe has none for it.
    first, second : TrainingSettings
        In float, and quantisation-aware.
    data : dict
        Patterns of images: ``train``, ``validation``; ``side`` of tiles, ``repeat`` of patterns.
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
    data: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """From TOML."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"the recipe is no TOML: {error}") from error
        space = dict(table.get("space", {}))
        operations = {k: tuple(v) for k, v in space.pop("operations", {}).items()}
        return cls(
            text=text, name=str(table.get("name", "")), title=str(table.get("title", "")),
            space=settings(SearchSpace, space | {"operations": operations}, "space"),
            normalisation=str(table.get("normalisation", "adq")),
            search=settings(SearchSettings, table.get("search", {}), "search"),
            degradation=settings(Degradation, table.get("degradation", {}), "degradation"),
            crops=settings(CropSettings, table.get("crops", {}), "crops"),
            search_crops=settings(CropSettings, table.get("search_crops", table.get("crops", {})), "search_crops"),
            first=settings(TrainingSettings, table.get("training", {}), "training"),
            second=settings(TrainingSettings, table.get("quantised_training", {}), "quantised_training"),
            data=dict(table.get("data", {})),
        )  # fmt: skip

    def tiles(self, sources: Sequence[Path], device: torch.device, part: str = "all") -> Tensor:
        """Tiles of the training images; ``part`` is ``"all"``, or ``"even"`` or ``"odd"`` images."""
        start, step = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}[part]
        images = find_images(sources, self.data["train"])[start::step]
        return tiles_of(images, int(self.data.get("side", 256)), self.space.bands).to(device)

    def pairs(self, tiles: Tensor, seed: int, crops: CropSettings | None = None) -> Pairs:
        """Random pairs of tiles, with crops as the trainings' unless given."""
        return Pairs(tiles, self.space.bands, self.space.scale, self.degradation, crops or self.crops, seed)

    def validation(self, sources: Sequence[Path], device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
        """Coarse and fine validation images ``(1, bands, H, W)``."""
        scale = self.space.scale
        coarse: list[Tensor] = []
        fine: list[Tensor] = []
        for image in find_images(sources, self.data["validation"])[:: int(self.data.get("validation_every", 1))]:
            whole = whole_image(image, self.space.bands, scale).to(device)
            generator = torch.Generator(device).manual_seed(len(fine))
            fine.append(whole)
            coarse.append(self.degradation.apply(whole, scale, generator))
        return coarse, fine


def whole_image(image: NDArray[Any], bands: int, scale: int) -> Tensor:
    """An image as ``(1, bands, H, W)`` in [0, 1], its sides cut to multiples of the scale; one band is the mean of all."""
    pixels = torch.from_numpy(image.astype(np.float32) / (4095 if image.dtype == np.uint16 else 255))
    pixels = pixels.mean(0, keepdim=True) if bands == 1 else pixels[:bands]
    if len(pixels) < bands:
        pixels = pixels[:1].expand(bands, -1, -1)
    height, width = (n // scale * scale for n in pixels.shape[1:])
    return pixels[None, :, :height, :width].contiguous()
