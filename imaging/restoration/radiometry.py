"""Between stored values and image units: the linear map, and the range a stored type and a sensor agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.sensors import Band, SensorProfile

_UNUSED = 4
"""A range of which a scene uses less than one part in so many says nothing of it: what it reaches is its range then."""
_FAR = 5.0
"""Deviations of the noise below zero signal from which on a value is no noise around it."""
_FEW = 0.01
"""Share of such values that a scene may have without a word."""


@dataclass(frozen=True)
class Radiometry:
    """Linear map between stored values and image units: ``(DN - offset) / full_scale``, and the largest value to be stored."""

    offset: NDArray[np.float64]
    full_scale: float

    def to_image(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Image units of stored values ``(..., C, H, W)``."""
        return np.asarray((values - self.offset[:, None, None]) / self.full_scale, dtype=np.float32)

    def to_stored(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """Stored units (not rounded) of an image ``(..., C, H, W)``."""
        return np.asarray(image, dtype=float) * self.full_scale + self.offset[:, None, None]


def stored_range(profile: SensorProfile, dtype: np.dtype[Any], brightest: float, noise: object) -> tuple[SensorProfile, float, list[str]]:
    """Fit a profile to the type and range of what is stored: the profile, with 8 bits for an 8-bit scene; the full scale; notes.

    The full scale is the signal of 1 in image units: the sensor's range, 1 for reflectances; of a scene that hardly uses it what the scene
    reaches, so that a scene and its noise times any factor are restored to as many times the result. ``brightest`` is the largest sampled
    value; ``noise`` is ``"profile"`` when the profile's own noise is to hold. `InputError` when that is in another unit than the stored
    values.
    """
    own_noise = noise == "profile" and any(b.noise for b in profile.bands)
    if dtype.itemsize == 1 and profile.bits > 8:
        if own_noise:
            raise InputError(
                f"the scene is 8-bit, sensor {profile.name} describes {profile.bits}-bit values, so its noise does not apply; "
                "use --noise estimate, --noise SIGMA0,GAIN or --sensor generic"
            )
        profile = replace(profile, bits=8)
    signal = brightest - min((b.noise.offset for b in profile.bands if b.noise), default=0.0)
    small = dtype.kind == "f" and signal <= 2
    largest_noise = [math.sqrt(b.noise.variance(max(brightest, 0))) for b in profile.bands if b.noise]
    if small and own_noise and max(largest_noise) > 0.5 * brightest:
        raise InputError(
            f"the scene's values end near {brightest:g}, the noise of sensor {profile.name} is in stored integers; "
            "use --noise estimate or --noise SIGMA0,GAIN in the scene's unit"
        )
    above = brightest > 1.02 * profile.full_scale
    notes = [f"values reach {brightest:g}, above the sensor's {profile.full_scale:g}: does the sensor fit the scene?"] if above else []
    full_scale = 1.0 if small else profile.full_scale
    return profile, signal if 0 < signal < full_scale / _UNUSED else full_scale, notes


def check_signal(bands: tuple[Band, ...], sample: list[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> list[str]:
    """Notes on bands of a scene with many values below zero signal, of which neither a noise model nor a prior knows anything.

    `InputError` when a band lies below on average.
    """
    notes = []
    for k, band in enumerate(bands):
        values = np.concatenate([v[k][m[k]] for v, m in sample])
        if not values.size or band.noise is None:
            continue
        zero, deviation = band.noise.offset, band.noise.sigma0
        remedy = "give the value of zero signal as offset in [bands.noise] of the sensor's file, and logarithms (dB) in linear units"
        mean = float(values.mean(dtype=float))
        if mean < zero - deviation:
            raise InputError(f"the values of band {band.name} are {mean:.3g} on average, the sensor's zero signal is {zero:g}; {remedy}")
        share = float(np.mean(values < zero - _FAR * deviation))
        if share > _FEW:
            notes.append(f"{share:.0%} of the values of band {band.name} are below the sensor's zero signal, {zero:g}; {remedy}")
    return notes
