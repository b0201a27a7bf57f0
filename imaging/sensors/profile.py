"""What is known of a sensor: its bands, their MTF and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imaging.errors import InputError
from imaging.sensors.mtf import Kernel, separable_psf

HUGE = 1e9
"""No number of a sensor is as large."""
ANY_BAND = "*"
"""Band name of a profile entry that serves any band."""


def check_nyquist(value: float | None) -> None:
    """Refuse an MTF at Nyquist that no sensor has; None is none given."""
    if value is not None and not 0 < value < 0.95:
        raise InputError(f"the MTF at Nyquist is {value:g}; accepted are numbers above 0 and below 0.95")


@dataclass(frozen=True)
class Mtf:
    """Modulation transfer function of one band.

    Attributes
    ----------
    shape : str
        ``gaussian``, ``exponential`` or ``file``.
    nyquist : tuple of float
        MTF at the Nyquist frequency of the stored grid, across and along track.
    target : float or None
        MTF at Nyquist that the restored scene is to have; None restores the full contrast.
    kernel : ndarray or None
        The PSF itself, for ``file``.
    source : str
        Where the numbers come from.
    """

    shape: str
    nyquist: tuple[float, float]
    target: float | None = None
    kernel: Kernel | None = None
    source: str = "assumed"

    def psf(self, factor: int = 1, shift: tuple[float, float] = (0.0, 0.0)) -> Kernel:
        """Kernel ``(rows, columns)`` that takes the wanted scene to the measured one: square, odd, sum 1.

        Parameters
        ----------
        factor : int
            Of the wanted scene's grid, so many pixels to one measured pixel; see `line_spread`.
        shift : (float, float)
            Of the measured grid against the wanted scene's, to the right and down, pixels of the wanted scene's.

        Raises
        ------
        InputError
            At a factor above 1 or for a shift, for a PSF from a file, which describes the measured grid.
        """
        if self.kernel is not None:
            if factor > 1 or any(shift):
                raise InputError(f"a PSF from a file describes the measured grid; for scale {factor} give an MTF at Nyquist instead")
            return self.kernel
        across, along = (min(0.95, n / (self.target or 1.0)) for n in self.nyquist)
        return separable_psf(self.shape, (across, along), factor, shift)


@dataclass(frozen=True)
class Noise:
    """Noise variance in DN squared: ``sigma0**2 + gain * (DN - offset)``.

    Attributes
    ----------
    sigma0 : float
        Standard deviation at zero signal, DN.
    gain : float
        DN squared per DN.
    offset : float
        DN of zero signal.
    source : str
        Where the numbers come from.
    """

    sigma0: float
    gain: float
    offset: float = 0.0
    source: str = "assumed"

    def __post_init__(self) -> None:
        if not (0 <= self.sigma0 < HUGE and 0 <= self.gain < HUGE and abs(self.offset) < HUGE):
            raise InputError(
                f"the noise is sigma0 {self.sigma0:g}, gain {self.gain:g}, offset {self.offset:g}; accepted are finite numbers below "
                f"{HUGE:g}, none but the offset negative"
            )

    def variance(self, dn: ArrayLike) -> NDArray[np.float64]:
        """Variance, DN squared, at stored values; below the offset that at zero signal."""
        return np.asarray(self.sigma0**2 + self.gain * np.maximum(np.asarray(dn, dtype=float) - self.offset, 0.0))


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes
    ----------
    name : str
        As the sensor's manual has it.
    gsd : float
        Ground sample distance, metres.
    mtf : Mtf
        Sharpness.
    noise : Noise or None
        None where it has to be estimated from the scene.
    source : str
        Where the general numbers come from.
    common_name : str or None
        Of the STAC catalogue's list: ``red``, ``green``, ``blue``, ``nir``, ``pan`` and so on; what a joint prior of several bands goes by.
    """

    name: str
    gsd: float
    mtf: Mtf
    noise: Noise | None
    source: str = "assumed"
    common_name: str | None = None


@dataclass(frozen=True)
class SensorProfile:
    """What is known of a sensor.

    Attributes
    ----------
    name, title : str
        Short name, and one line for lists.
    state : str
        ``raw`` (as measured) or ``product`` (restored or resampled on the ground).
    bits : int
        Useful bits of the stored integers.
    bands : tuple of Band
        In the order of the product.
    source : str
        Where the general numbers come from.
    """

    name: str
    state: str
    bits: int
    bands: tuple[Band, ...]
    title: str = ""
    source: str = "assumed"

    @property
    def full_scale(self) -> float:
        """DN that maps to 1 in image units."""
        return float(2**self.bits - 1)

    def match(self, descriptions: tuple[str | None, ...]) -> tuple[Band, ...]:
        """The profile's bands for a scene's bands: by band name, then by order.

        Parameters
        ----------
        descriptions : tuple of str or None
            Band descriptions of the scene.

        Raises
        ------
        InputError
            When the number of bands is not the profile's and names do not tell.
        """
        if len(self.bands) == 1 and self.bands[0].name == ANY_BAND:
            return self.bands * len(descriptions)
        names = {b.name.lower(): b for b in self.bands}
        found = [names.get((d or "").strip().lower()) for d in descriptions]
        if all(b is not None for b in found) and len({b.name for b in found if b is not None}) == len(found):
            return tuple(b for b in found if b is not None)
        panchromatic = [b for b in self.bands if b.name.upper() in {"PAN", "P"}]
        if len(descriptions) == 1 and panchromatic:
            return (panchromatic[0],)
        others = tuple(b for b in self.bands if b not in panchromatic)
        distances = (tuple(b for b in self.bands if b.gsd == gsd) for gsd in sorted({b.gsd for b in self.bands}))
        for group in (self.bands, others, *distances):
            if len(group) == len(descriptions):
                return group
        raise InputError(
            f"the scene has {len(descriptions)} bands, sensor {self.name} has {', '.join(b.name for b in self.bands)}; "
            "choose with --bands or name the scene's bands accordingly"
        )

    def with_overrides(self, *, mtf_nyquist: float | None = None, noise: tuple[float, float] | None = None) -> SensorProfile:
        """A copy with another MTF at Nyquist (the target stays) or another (sigma0, gain) in DN, for all bands."""
        check_nyquist(mtf_nyquist)
        if noise is not None and not (all(0 <= v < math.inf for v in noise) and max(noise) > 0):
            raise InputError(f"the noise is {noise[0]:g},{noise[1]:g}; accepted are two numbers, not negative and not both zero")
        bands = self.bands
        if mtf_nyquist is not None:
            pair = (mtf_nyquist, mtf_nyquist)
            shape = {b.name: "gaussian" if b.mtf.shape == "file" else b.mtf.shape for b in bands}
            bands = tuple(
                replace(b, mtf=replace(b.mtf, shape=shape[b.name], nyquist=pair, kernel=None, source="given by the user")) for b in bands
            )
        if noise is not None:
            bands = tuple(
                replace(b, noise=Noise(*noise, offset=b.noise.offset if b.noise else 0.0, source="given by the user")) for b in bands
            )
        return replace(self, bands=bands)
