"""Sensors: profiles, point spread functions, noise, and the deepinv physics they make."""

from __future__ import annotations

from imaging.sensors.noise import SignalDependentNoise, estimate_affine_noise
from imaging.sensors.physics import SensorPhysics, sensor_physics
from imaging.sensors.products import ProductScene, find_scene, is_product, product_scenes
from imaging.sensors.profile import Band, Mtf, Noise, SensorProfile
from imaging.sensors.reader import builtin_sensors, load_profile

__all__ = [
    "Band",
    "Mtf",
    "Noise",
    "ProductScene",
    "SensorPhysics",
    "SensorProfile",
    "SignalDependentNoise",
    "builtin_sensors",
    "estimate_affine_noise",
    "find_scene",
    "is_product",
    "load_profile",
    "product_scenes",
    "sensor_physics",
]
