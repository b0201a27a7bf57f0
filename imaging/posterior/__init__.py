"""Posterior of a scene given its measurement: VBLE, VBLE-xz and MAP-z."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import former_names
from imaging.posterior.fitted import LatentPosterior
from imaging.posterior.gaussian import sensor_deviation
from imaging.posterior.likelihood import SensorLikelihood
from imaging.posterior.mixture import PosteriorMixture
from imaging.posterior.settings import FitSettings, lattice_room, rate_scale
from imaging.posterior.storage import load_posterior, save_posterior
from imaging.posterior.vble import VBLE
from imaging.sensors.wiener import wiener_estimate

__all__ = [
    "VBLE", "FitSettings", "LatentPosterior", "PosteriorMixture", "SensorLikelihood", "lattice_room", "load_posterior", "rate_scale",
    "save_posterior", "sensor_deviation", "wiener_estimate",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, Moments="imaging.moments.Moments")
