"""Learned regularisers: made from recipes, saved, and loaded with a checked digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imaging.bilevel.experts import FieldOfExperts
from imaging.bilevel.regularizers import Regularizer, TotalVariation
from imaging.bilevel.ridge import RidgeRegularizer
from imaging.errors import InputError
from imaging.releases import REGULARIZER_ZOO, ModelInfo, Table, read_weights, write_release

REGULARIZERS: dict[str, type[Regularizer]] = {"tv": TotalVariation, "foe": FieldOfExperts, "ridge": RidgeRegularizer}
"""Families of regularisers by the name that recipes call them."""


@dataclass(frozen=True)
class LearnedRegularizer:
    """A regulariser with its parameters.

    Attributes
    ----------
    name, title : str
        As its recipe has them.
    regularizer : Regularizer
        The energy.
    theta : Tensor
        ``(p,)`` parameters.
    digest : str
        SHA-256 of the parameters' file.
    weight, response, contrast : float
        How the weight, that of denoising, is adapted where a sensor is undone, from its recipe's ``[restoration]``: times ``weight``, times
        the share of white power that the sensor passes to the power of ``response``, over the contrast of the scene around a pixel,
        relative to a typical scene's, to the power of ``contrast``.
    """

    name: str
    title: str
    regularizer: Regularizer
    theta: Tensor
    digest: str
    weight: float = 1.0
    response: float = 0.0
    contrast: float = 0.0


def make_regularizer(recipe: Table) -> Regularizer:
    """The energy that a recipe describes.

    Raises
    ------
    InputError
        For an unknown family or settings it does not have.
    """
    family = recipe.get("family", str)
    if family not in REGULARIZERS:
        recipe.refuse("family", ", ".join(REGULARIZERS))
    return recipe.under("model").make(REGULARIZERS[family], sizes=True)


def list_regularizers() -> list[ModelInfo]:
    """All released regularisers, in the order of their names; each is for the method that its name begins with, such as ``wcrr``.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return REGULARIZER_ZOO.models()


def load_regularizer(name: str) -> LearnedRegularizer:
    """Load a released regulariser with its parameters.

    Parameters
    ----------
    name : str
        Of the zoo, or a model folder.

    Raises
    ------
    InputError
        For an unknown name, a damaged file or parameters that do not fit.
    """
    info = REGULARIZER_ZOO.find(name)
    theta = read_weights(info.folder, info.digest).get("theta", torch.zeros(0))
    regularizer = make_regularizer(info.recipe)
    if theta.shape != (regularizer.size,) or not bool(torch.isfinite(theta).all()):
        raise InputError(
            f"{info.folder}/weights.safetensors holds {tuple(theta.shape)} parameters; its recipe's regulariser has {regularizer.size}"
        )
    restoration = info.recipe.under("restoration")
    weight = restoration.number("weight", 1.0, 1e-6, 1e6)
    response, contrast = (restoration.number(power, 0.0, 0.0, 4.0) for power in ("response", "contrast"))
    return LearnedRegularizer(info.name, info.title, regularizer, theta, info.digest, weight, response, contrast)


def save_regularizer(
    regularizer: Regularizer, theta: Tensor, folder: Path, recipe: str, notes: dict[str, float | str] | None = None
) -> str:  # fmt: skip
    """Release a regulariser: its parameters in float32, and the recipe with their digest; returns the digest."""
    stored = {"theta": theta.detach().float().cpu().contiguous()}
    return write_release(folder, stored, recipe, {"parameters": regularizer.size} | (notes or {}))
