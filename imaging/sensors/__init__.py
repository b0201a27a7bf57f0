"""Sensors: profiles, point spread functions, noise, and the deepinv physics they make."""

from __future__ import annotations

from imaging.sensors.estimate import estimate_sensor
from imaging.sensors.noise import SignalDependentNoise, estimate_affine_noise
from imaging.sensors.physics import SensorPhysics, sensor_physics
from imaging.sensors.profile import Band, Mtf, Noise, SensorProfile
from imaging.sensors.reader import builtin_sensors, load_profile
from imaging.sensors.scene_mtf import MtfEstimate, estimate_mtf
from imaging.sensors.scene_noise import NoiseEstimate, estimate_noise
from imaging.sensors.writer import write_profile

__all__ = [
    "Band",
    "Mtf",
    "MtfEstimate",
    "Noise",
    "NoiseEstimate",
    "SensorPhysics",
    "SensorProfile",
    "SignalDependentNoise",
    "builtin_sensors",
    "estimate_affine_noise",
    "estimate_mtf",
    "estimate_noise",
    "estimate_sensor",
    "load_profile",
    "sensor_physics",
    "write_profile",
]
