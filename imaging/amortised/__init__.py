"""One network that is told the sensor: the posterior of a scene in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.amortised.limits import QUANTITIES, Excess, Limits, load_limits, scene_quantities, sensor_quantities
from imaging.amortised.network import InferenceNetwork, NetworkSettings
from imaging.amortised.posterior import ImagePosterior, load_image_posterior, save_image_posterior
from imaging.amortised.reconstructor import DEFAULT_ORIENTATIONS, ORIENTATIONS, AmortisedReconstructor
from imaging.amortised.zoo import (
    DEFAULT_NETWORK,
    choose_fusion,
    choose_network,
    find_fusion,
    find_network,
    list_networks,
    load_network,
    save_network,
)
from imaging.lazy import former_names

__all__ = [
    "DEFAULT_NETWORK", "DEFAULT_ORIENTATIONS", "ORIENTATIONS", "QUANTITIES", "AmortisedReconstructor", "Excess", "ImagePosterior",
    "InferenceNetwork", "Limits", "NetworkSettings", "choose_fusion", "choose_network", "find_fusion", "find_network", "list_networks",
    "load_image_posterior", "load_limits", "load_network", "save_image_posterior", "save_network", "scene_quantities", "sensor_quantities",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, NetworkInfo="imaging.releases.ModelInfo")
