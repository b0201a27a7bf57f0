"""Bundles: bands of different resolution as one inverse problem, how they hang together, and their Gaussian posterior."""

from __future__ import annotations

from imaging.fusion.covariance import BandStatistics, BundleArea, scene_statistics
from imaging.fusion.features import IMAGES, MAPS, BundleFeatures, bundle_features
from imaging.fusion.gaussian import CrossBandGaussian
from imaging.fusion.physics import SpectralPhysics, bundle_margin, bundle_physics, matched
from imaging.fusion.shifts import Drift, FoundShift, constant_drift, find_drift, find_shift, search_shift

__all__ = [
    "IMAGES", "MAPS", "BandStatistics", "BundleArea", "BundleFeatures", "CrossBandGaussian", "Drift", "FoundShift", "SpectralPhysics",
    "bundle_features", "bundle_margin", "bundle_physics", "constant_drift", "find_drift", "find_shift", "matched", "scene_statistics",
    "search_shift",
]  # fmt: skip
