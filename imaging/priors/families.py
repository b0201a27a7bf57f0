"""The families of priors, by name; a family is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from imaging.priors.base import LatentPrior
from imaging.priors.compressai_zoo import without_compressai
from imaging.releases import Table

FAMILIES = {
    "lapped": ("imaging.priors.autoencoders", "LappedAutoencoder"),
    "mean-scale": ("imaging.priors.published", "MeanScaleAutoencoder"),
    "mbt": ("imaging.priors.published", "JointAutoencoder"),
    "cheng": ("imaging.priors.published", "ChengAutoencoder"),
    "factorized": ("imaging.priors.published", "FactorizedAutoencoder"),
    "vae": ("imaging.priors.vae", "VariationalAutoencoder"),
}
"""Module and class of each family."""


def family_class(family: str) -> type[LatentPrior]:
    """The class of a family, a key of `FAMILIES`; `InputError` where it needs compressai, which is not installed."""
    module, name = FAMILIES[family]
    try:
        found: type[LatentPrior] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise without_compressai(f"the prior family {family}", error) from error
    return found


def prior_of(recipe: Table) -> LatentPrior:
    """The untrained prior of a recipe; `InputError` for a family or a ``[model]`` that there is not."""
    family, table = recipe.get("family", str), recipe.under("model")
    if family not in FAMILIES:
        recipe.refuse("family", ", ".join(FAMILIES))
    table.get("channels", int)  # families differ in what they take it for where it is missing
    return table.make(family_class(family), sizes=True)


def make_prior(family: str, settings: dict[str, Any]) -> LatentPrior:
    """An untrained prior of a family from the arguments of its class, the ``[model]`` table of a recipe."""
    return family_class(family)(**settings)
