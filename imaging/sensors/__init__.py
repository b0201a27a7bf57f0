"""Sensors: profiles, point spread functions, noise, and the deepinv physics they make."""

from __future__ import annotations

from imaging.sensors.noise import SignalDependentNoise, estimate_affine_noise
from imaging.sensors.physics import SensorPhysics, sensor_physics
from imaging.sensors.profile import Band, Mtf, Noise, SensorProfile
from imaging.sensors.reader import builtin_sensors, load_profile

__all__ = [
    "Band",
    "Mtf",
    "Noise",
    "SensorPhysics",
    "SensorProfile",
    "SignalDependentNoise",
    "builtin_sensors",
    "estimate_affine_noise",
    "load_profile",
    "sensor_physics",
]
