"""Latent priors: explicit densities over scenes, their training and the model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import former_names
from imaging.priors.base import LatentPrior, Latents
from imaging.priors.zoo import DEFAULT_PRIOR, choose_prior, list_priors, load_prior

__all__ = ["DEFAULT_PRIOR", "LatentPrior", "Latents", "choose_prior", "list_priors", "load_prior"]

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, PriorInfo="imaging.releases.ModelInfo")
