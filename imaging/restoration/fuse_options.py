"""What a user can choose of a fusion, as plain data that is checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from imaging.errors import InputError, did_you_mean
from imaging.names import AMORTISED, AUTO, DEVICES, ESTIMATE, FUSIONS, GAUSSIAN, NONE, ORIENTATIONS
from imaging.raster import check_halo, check_side
from imaging.restoration.options import check_among, check_least, check_positive

_FARTHEST = 1e3
"""No shift is as large, panchromatic pixels."""


@dataclass(frozen=True, kw_only=True)
class FuseOptions:
    """Settings of one fusion of a panchromatic scene and a multispectral one.

    Attributes
    ----------
    method : {"auto", "amortised", "gaussian", "vble-xz"}
        Posterior in one pass of a network that is told both sensors; Gaussian posterior of bands that hang together, in closed form; fitted
        posterior of a joint prior. ``"auto"`` takes the pass where there is a network for the bands, otherwise the Gaussian.
    prior : str
        Zoo name or model folder of the network, or of the joint prior of a fit; ``"auto"`` goes by the bands.
    bands : tuple of int, optional
        Multispectral bands to sharpen, numbered from 1; all by default. What the panchromatic band sees of others is outside of their span.
    pan_weights : tuple of float, optional
        How much each multispectral band contributes to the panchromatic one, in the order of the file or of ``bands``; a gain and an offset
        are fitted. By default they are found by regression.
    pan_shift : {"auto", "none"} or (float, float)
        Shift of the multispectral grid against what the files say, panchromatic pixels to the right and down: found from the scene, none,
        or given.
    samples : int
        Posterior samples to save.
    iterations : int, optional
        Steps of a fit, 24 by default; of the pass, over how many orientations results are averaged, 2 by default.
    rate_scale, weight : float, optional
        Of a fit, see `RestoreOptions`.
    calibrated : bool
        Whether a fit's standard deviations carry its calibration.
    seed : int
        Of all random draws.
    tile, halo : int, optional
        Side of a tile's core, and pixels around it that take part, both on the panchromatic grid; see `RestoreOptions`.
    batch : int or None
        Tiles worked on together; None chooses from the device's free memory.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    noise : {"profile", "estimate"}
        Whether both noises are the profile's, or estimated from the scenes.
    """

    method: str = AUTO
    prior: str = AUTO
    bands: tuple[int, ...] | None = None
    pan_weights: tuple[float, ...] | None = None
    pan_shift: tuple[float, float] | str = AUTO
    samples: int = 0
    iterations: int | None = None
    rate_scale: float | None = None
    weight: float | None = None
    calibrated: bool = True
    seed: int = 0
    tile: int | None = None
    halo: int | None = None
    batch: int | None = None
    device: str = AUTO
    noise: str = "profile"

    def __post_init__(self) -> None:
        if self.method not in {AUTO, *FUSIONS}:
            raise InputError(f"unknown method {self.method!r} of bundles; {did_you_mean(self.method, FUSIONS)}")
        check_among("device", self.device, DEVICES)
        check_least(self, iterations=1, samples=0, tile=64, batch=1)
        check_positive(self, "rate_scale", "weight")
        if self.tile is not None:
            check_side(self.tile)
        if self.halo is not None:
            check_halo(self.halo)
        if self.noise not in {"profile", ESTIMATE}:
            raise InputError(f"noise is {self.noise!r}; of bundles accepted are profile and estimate: one model cannot serve both sensors")
        self._check_bundle()
        self._check_method()

    def _check_bundle(self) -> None:
        """Refuse weights and shifts that nothing has."""
        weights, shift = self.pan_weights, self.pan_shift
        if weights is not None and not (weights and all(0 <= w < math.inf for w in weights) and sum(weights) > 0):
            raise InputError(f"the weights of the panchromatic band are {weights}; accepted are numbers, not negative and not all zero")
        if isinstance(shift, str):
            if shift not in {AUTO, NONE}:
                raise InputError(f"the shift of the panchromatic band is {shift!r}; accepted are auto, none or two numbers DX,DY")
        elif len(shift) != 2 or not all(abs(v) < _FARTHEST for v in shift):
            raise InputError(f"the shift of the panchromatic band is {shift}; accepted are two numbers below {_FARTHEST:g}, in its pixels")

    def _check_method(self) -> None:
        """Refuse settings that a method has not."""
        fitted = {"rate scale": self.rate_scale is not None, "weight": self.weight is not None, "uncalibrated": not self.calibrated}
        if self.method in {AMORTISED, GAUSSIAN} and any(fitted.values()):
            name = next(n for n, given in fitted.items() if given)
            raise InputError(f"{name} is a setting of a fit and does not apply to {self.method}; leave it away or choose --method vble-xz")
        if self.method == GAUSSIAN and self.iterations is not None:
            raise InputError("iterations do not apply to gaussian, which is a closed form; leave them away")
        if self.method == AMORTISED and self.iterations not in {None, *ORIENTATIONS}:
            known = ", ".join(map(str, ORIENTATIONS))
            raise InputError(f"iterations is {self.iterations}; of {AMORTISED} accepted are {known}, a fit takes any number")

    @property
    def of_a_fit(self) -> bool:
        """Whether a setting is given that only a fit has."""
        return self.rate_scale is not None or self.weight is not None or not self.calibrated
