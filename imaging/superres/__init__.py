"""Super-resolution networks: searched against quantisation noise, trained, exported, and run in 8-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import former_names
from imaging.superres.blueprint import Blueprint, blueprint
from imaging.superres.cost import BitOps, LatencyTable, reported
from imaging.superres.data import CropSettings, Degradation, Pairs, tiles_of
from imaging.superres.export import export
from imaging.superres.genotype import Genotype
from imaging.superres.networks import Network, super_resolve
from imaging.superres.reconstructor import SuperResolutionReconstructor
from imaging.superres.runtime import SuperResolver
from imaging.superres.search import Search, SearchSettings, derive
from imaging.superres.space import SearchSpace
from imaging.superres.supernet import SupernetSettings
from imaging.superres.training import Training, TrainingSettings
from imaging.superres.zoo import find_model, list_models, load_network

__all__ = [
    "BitOps", "Blueprint", "CropSettings", "Degradation", "Genotype", "LatencyTable", "Network", "Pairs", "Search", "SearchSettings",
    "SearchSpace", "SuperResolutionReconstructor", "SuperResolver", "SupernetSettings", "Training", "TrainingSettings", "blueprint",
    "derive", "export", "find_model", "list_models", "load_network", "reported", "super_resolve", "tiles_of",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, Manifest="imaging.superres.export.Manifest")
