"""What a user can choose, as plain data that is checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from imaging.errors import InputError, did_you_mean
from imaging.names import (
    AMORTISED,
    AUTO,
    DEVICES,
    FALLBACK,
    FINER,
    METHODS,
    NOISES,
    ORIENTATIONS,
    POINTS,
    SCALES,
    STARTS,
)
from imaging.raster import check_halo, check_side

T = TypeVar("T")
_DOES = {"RestoreOptions": "restore", "SuperResolveOptions": "super-resolve", "FuseOptions": "fuse"}
_SAID = {"batch": "the batch", "range": "the range", "rate_scale": "rate scale"}
"""Settings as sentences name them, where not by their own names."""


def checked(options: object, kind: type[T]) -> T:
    """Options of a kind, its defaults for None; `InputError` for anything else."""
    if options is not None and not isinstance(options, kind):
        raise InputError(f"options are a {type(options).__name__}; accepted are {kind.__name__}(...), in calls that {_DOES[kind.__name__]}")
    return options or kind()


def check_among(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Refuse a word that is not accepted."""
    if value not in accepted:
        raise InputError(f"{name} is {value!r}; accepted are {', '.join(accepted[:-1])} and {accepted[-1]}")


def check_least(options: object, **least: int) -> None:
    """Refuse what is given and smaller than it can be, or no number."""
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"{_SAID.get(name, name)} is {value}; accepted are integers from {low}")


def check_positive(options: object, *names: str) -> None:
    """Refuse numbers that are given and not above 0."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{_SAID.get(name, name)} is {value}; accepted are numbers above 0")


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """Settings of one restoration.

    Attributes
    ----------
    method : {"auto", "amortised", "vble-xz", "vble", "map", "tv", "foe", "crr", "wcrr"}
        Posterior in one pass of a network that is told the sensor; fitted posterior in latent and image space, in latent space only, or a
        point estimate with the image-space spread; or the minimiser with a learned regulariser, total variation, field of experts, convex
        or weakly convex ridge regulariser: a point without a spread. ``"auto"`` takes the pass, or "vble-xz" where a prior or a setting
        is given that only a fit has.
    fallback : bool
        Whether a scene that the network of the pass does not know is fitted from Wiener filters instead.
    start : {"wiener", "pass"}
        Where a fit starts: from Wiener filters, with 24 steps, or from the pass's image, with 4: as near to the scene in a quarter of the
        time, but not yet where the objective ends (docs/benchmark.md).
    prior : str
        Zoo name, model folder, or a model of compressai's zoo such as ``compressai:mbt2018-mean-8``. ``"auto"`` takes the zoo's joint prior
        for the scene's bands where it has one (the sensor profile tells their common names), otherwise the default, band by band. With
        the pass, an inference network; with
        regularisers, another one of the zoo such as ``"wcrr-bsd"``, or a model folder.
    download : bool
        Whether a model of compressai's zoo may be fetched.
    scale : int
        1 for the scene's own grid, 2 for one of half the ground sample distance (super-resolution).
    bands : tuple of int, optional
        Bands to restore, numbered from 1; all by default.
    samples : int
        Posterior samples to save.
    iterations : int, optional
        Steps of the fit; fewer are faster and less sharp. By default 24 from Wiener filters and 4 from the pass; of a minimisation with a
        regulariser 60; of the pass, over how many orientations of the scene the network's results are averaged: 2, or 1 or 4. Given with
        the method "auto", it asks for a fit.
    rate_scale : float, optional
        Fixes the rate scale; smaller regularises more. By default it follows from the sensor and the scene's mean signal.
    weight : float, optional
        Of the prior against the measurement; 1 is Bayes' rule and the default at scale 1, 1.5 at scale 2. Of a regulariser, a factor on
        the weight that follows from sensor, noise and contrast.
    calibrated : bool
        Whether standard deviations carry the prior's calibration; otherwise they are those of the variational posterior.
    seed : int
        Of all random draws.
    tile : int, optional
        Side of a tile's core in pixels, a multiple of 32 from 64; see `imaging.raster.TilePlan`. By default what a fixed budget of memory
        allows the method.
    halo : int, optional
        Pixels of the restored scene's grid around a tile's core that take part in its fit, a multiple of 16. With fewer, tiles begin to
        show. By default how far the method sees: of a fit twice the sum of the prior's receptive field, as measured, and the radius of
        the PSF.
    batch : int or None
        Tiles fitted together; None chooses from the device's free memory.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    mtf_nyquist : float, optional
        Replaces the profile's MTF at Nyquist.
    noise : tuple of float or str
        ``"profile"``, ``"estimate"`` (from the scene) or (sigma0, gain) in stored units.
    """

    method: str = AUTO
    fallback: bool = True
    start: str = "wiener"
    prior: str = AUTO
    download: bool = False
    scale: int = 1
    bands: tuple[int, ...] | None = None
    samples: int = 0
    iterations: int | None = None
    rate_scale: float | None = None
    weight: float | None = None
    calibrated: bool = True
    seed: int = 0
    tile: int | None = None
    halo: int | None = None
    batch: int | None = None
    device: str = "auto"
    mtf_nyquist: float | None = None
    noise: tuple[float, float] | str = "profile"

    def __post_init__(self) -> None:
        if self.method not in {AUTO, *METHODS}:
            raise InputError(f"unknown method {self.method!r}; {did_you_mean(self.method, METHODS)}")
        check_among("start", self.start, STARTS)
        check_among("device", self.device, DEVICES)
        if self.scale not in SCALES:
            raise InputError(f"the scale is {self.scale}; accepted are 1 (the scene's own grid) and 2 (half its ground sample distance)")
        check_least(self, iterations=1, samples=0, tile=64, batch=1)
        check_positive(self, "rate_scale", "weight")
        if self.is_point:
            self._check_point()
        if self.method == AMORTISED:
            self._check_pass()
        if self.tile is not None:
            check_side(self.tile)
        if self.halo is not None:
            check_halo(self.halo)
        if isinstance(self.noise, str) and self.noise not in NOISES:
            raise InputError(f"noise is {self.noise!r}; accepted are profile, estimate or two numbers SIGMA0,GAIN")

    def _check_point(self) -> None:
        """Refuse what only a posterior has."""
        given = {"samples": self.samples > 0, "rate scale": self.rate_scale is not None, "uncalibrated": not self.calibrated}
        for name in (n for n, asked in given.items() if asked):
            raise InputError(f"{self.method} is a point estimate, {name} does not apply; leave it away or choose --method vble-xz")

    def _check_pass(self) -> None:
        """Refuse what only a fit has."""
        if self.iterations not in {None, *ORIENTATIONS}:
            known = ", ".join(map(str, ORIENTATIONS))
            raise InputError(f"iterations is {self.iterations}; of {AMORTISED} accepted are {known}, other methods take any number")
        fitted = [name for name in self.of_a_fit if name != "iterations"]
        if fitted:
            raise InputError(
                f"{fitted[0]} is a setting of a fit and does not apply to {AMORTISED}; leave it away or choose --method {FALLBACK}"
            )

    @property
    def is_point(self) -> bool:
        """Whether the method is a point estimate without a spread."""
        return self.method in POINTS

    @property
    def of_a_fit(self) -> list[str]:
        """The settings given that only a fit has, unless the method says what iterations are."""
        given = {
            "iterations": self.iterations is not None,
            "rate scale": self.rate_scale is not None,
            "weight": self.weight is not None,
            "uncalibrated": not self.calibrated,
            "start": self.start != "wiener",
        }
        return [name for name, is_given in given.items() if is_given]


@dataclass(frozen=True, kw_only=True)
class SuperResolveOptions:
    """Settings of one super-resolution.

    Attributes
    ----------
    model : str, optional
        Name in the zoo or model folder; by default the zoo's largest for the scale, for any band one by one where it has such a one.
    scale : int, optional
        2 or 4: how many times as fine the result is; by default as fine as the model makes it, or 2.
    precision : str
        ``"int8"`` or ``"float32"``.
    bands : tuple of int, optional
        Bands to super-resolve, numbered from 1; all by default.
    range : float, optional
        Stored value that counts as 1. By default 255 for 8 bits, otherwise 1.5 times the 99th percentile of sampled pixels' magnitudes.
    tile : int
        Side of a tile of the result, pixels.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"tensorrt"``.
    threads : int, optional
        Of the CPU; all by default.
    """

    model: str | None = None
    scale: int | None = None
    precision: str = "int8"
    bands: tuple[int, ...] | None = None
    range: float | None = None
    tile: int = 1024
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale not in FINER:
            raise InputError(f"the scale is {self.scale}; accepted are 2 and 4")
        check_positive(self, "range")
        if not 64 <= self.tile <= 8192:
            raise InputError(f"the tile size is {self.tile}; accepted are multiples of the scale from 64 to 8192")
        check_least(self, threads=1)
