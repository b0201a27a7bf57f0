"""Sensors: profiles, point spread functions, noise, the deepinv physics they make, products' metadata and estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.sensors.estimate import estimate_sensor
    from imaging.sensors.noise import SignalDependentNoise
    from imaging.sensors.physics import SensorPhysics, sensor_physics
    from imaging.sensors.products import ProductScene, find_scene, is_product, product_scenes
    from imaging.sensors.profile import ANY_BAND, Band, Mtf, Noise, SensorProfile
    from imaging.sensors.reader import builtin_sensors, load_profile
    from imaging.sensors.scene_mtf import MtfEstimate, estimate_mtf
    from imaging.sensors.scene_noise import NoiseEstimate, estimate_noise
    from imaging.sensors.writer import write_profile
else:
    _modules = {
        "imaging.sensors.estimate": "estimate_sensor",
        "imaging.sensors.noise": "SignalDependentNoise",
        "imaging.sensors.physics": "SensorPhysics sensor_physics",
        "imaging.sensors.products": "ProductScene find_scene is_product product_scenes",
        "imaging.sensors.profile": "ANY_BAND Band Mtf Noise SensorProfile",
        "imaging.sensors.reader": "builtin_sensors load_profile",
        "imaging.sensors.scene_mtf": "MtfEstimate estimate_mtf",
        "imaging.sensors.scene_noise": "NoiseEstimate estimate_noise",
        "imaging.sensors.writer": "write_profile",
    }
    __getattr__, __dir__ = on_first_use(__name__, _modules)

__all__ = [
    "ANY_BAND", "Band", "Mtf", "MtfEstimate", "Noise", "NoiseEstimate", "ProductScene", "SensorPhysics", "SensorProfile",
    "SignalDependentNoise", "builtin_sensors", "estimate_mtf", "estimate_noise", "estimate_sensor", "find_scene", "is_product",
    "load_profile", "product_scenes", "sensor_physics", "write_profile",
]  # fmt: skip
