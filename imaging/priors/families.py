"""The families of priors, by name; a family is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from imaging.priors.base import LatentPrior

FAMILIES = {
    "lapped": ("imaging.priors.autoencoders", "LappedAutoencoder"),
    "mean-scale": ("imaging.priors.published", "MeanScaleAutoencoder"),
    "mbt": ("imaging.priors.published", "JointAutoencoder"),
    "cheng": ("imaging.priors.published", "ChengAutoencoder"),
    "factorized": ("imaging.priors.published", "FactorizedAutoencoder"),
    "vae": ("imaging.priors.vae", "VariationalAutoencoder"),
}
"""Module and class of each family."""


def make_prior(family: str, settings: dict[str, Any]) -> LatentPrior:
    """An untrained prior.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    settings : dict
        Arguments of its class: the ``[model]`` table of a recipe.

    Raises
    ------
    KeyError
        For an unknown family.
    TypeError, ValueError, RuntimeError, ArithmeticError
        When no model can be made from the settings.
    """
    module, name = FAMILIES[family]
    model: LatentPrior = getattr(import_module(module), name)(**settings)
    return model
