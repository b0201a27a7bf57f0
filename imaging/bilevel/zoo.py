"""Learned regularisers: made from recipes, saved, and loaded with a checked digest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.bilevel.experts import FieldOfExperts
from imaging.bilevel.regularizers import Regularizer, TotalVariation
from imaging.bilevel.ridge import RidgeRegularizer
from imaging.errors import InputError, did_you_mean
from imaging.releases import read_recipe, read_weights, released, write_release, zoo_folder

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
    weight : float
        Factor on the weight where a sensor is undone, from ``weight`` of its recipe's ``[restoration]``; 1 is the rule of denoising.
    """

    name: str
    title: str
    regularizer: Regularizer
    theta: Tensor
    digest: str
    weight: float = 1.0


def make_regularizer(recipe: dict[str, Any]) -> Regularizer:
    """The energy that a recipe describes.

    Raises
    ------
    InputError
        For an unknown family or settings it does not have.
    """
    family = recipe.get("family")
    if family not in REGULARIZERS:
        raise InputError(f"the family is {family!r}; accepted are {', '.join(REGULARIZERS)}")
    try:
        return REGULARIZERS[family](**recipe.get("model", {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"no regulariser can be made from [model]: {error}") from error


def list_regularizers() -> list[str]:
    """Names of the released regularisers, in order; each is for the method that its name begins with, such as ``wcrr``.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return [f.name for f in released(zoo_folder(), REGULARIZERS)]


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
    folder = Path(name) if Path(name).is_dir() else zoo_folder() / name
    if not Path(name).is_dir() and name not in list_regularizers():
        raise InputError(f"unknown regulariser {name!r}; {did_you_mean(name, list_regularizers())}, or a path to a model folder")
    recipe = read_recipe(folder)
    digest = str(recipe.get("release", {}).get("sha256"))
    theta = read_weights(folder, digest).get("theta", torch.zeros(0))
    regularizer = make_regularizer(recipe)
    if theta.shape != (regularizer.size,) or not bool(torch.isfinite(theta).all()):
        raise InputError(
            f"{folder}/weights.safetensors holds {tuple(theta.shape)} parameters; its recipe's regulariser has {regularizer.size}"
        )
    weight = recipe.get("restoration", {}).get("weight", 1.0)
    if not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise InputError(f"the weight in {folder}/recipe.toml is {weight!r}; accepted are numbers above 0")
    return LearnedRegularizer(str(recipe.get("name", folder.name)), str(recipe.get("title", "")), regularizer, theta, digest, float(weight))


def save_regularizer(
    regularizer: Regularizer, theta: Tensor, folder: Path, recipe: str, notes: dict[str, float | str] | None = None
) -> str:  # fmt: skip
    """Release a regulariser: its parameters in float32, and the recipe with their digest; returns the digest."""
    stored = {"theta": theta.detach().float().cpu().contiguous()}
    return write_release(folder, stored, recipe, {"parameters": regularizer.size} | (notes or {}))
