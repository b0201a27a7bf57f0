"""What a user can choose for a restoration, checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from imaging.amortised import DEFAULT_NETWORK, ORIENTATIONS, AmortisedReconstructor, choose_network
from imaging.errors import InputError
from imaging.names import AMORTISED, AUTO, DEFAULT_METHOD, FALLBACK, POSTERIORS, REGULARIZERS, SCALES, STARTS
from imaging.posterior import FitSettings
from imaging.priors import DEFAULT_PRIOR, choose_prior
from imaging.raster import check_halo, check_side
from imaging.restoration.amortised import AmortisedMethod
from imaging.restoration.method import Method
from imaging.restoration.methods import (
    check_method,
    find_pass,
    find_prior,
    find_regularizer,
    make_method,
    make_pass,
)
from imaging.restoration.paths import ScenePaths
from imaging.sensors import Band

_ITERATIONS = {"pass": 4, "wiener": FitSettings().iterations}
"""Steps of a fit by where it starts."""
_FEW, _GENTLE = 8, 0.1
"""So few steps from the pass are of this rate: larger ones leave a good start before they find a better place."""


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
        the weight that follows from the noise; by default one that was tuned once for it, see its card.
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
        if self.method != AUTO:
            check_method(self.method)
        if self.start not in STARTS:
            raise InputError(f"start is {self.start!r}; accepted are {' and '.join(STARTS)}")
        if self.scale not in SCALES:
            raise InputError(f"the scale is {self.scale}; accepted are 1 (the scene's own grid) and 2 (half its ground sample distance)")
        for name, least in (("iterations", 1), ("samples", 0), ("tile", 64)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; accepted are integers from {least}")
        if self.is_point:
            self._check_point()
        if self.method == AMORTISED:
            self._check_pass()
        for name in ("rate_scale", "weight"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name.replace('_', ' ')} is {value}; accepted are numbers above 0")
        if self.tile is not None:
            check_side(self.tile)
        if self.halo is not None:
            check_halo(self.halo)
        if self.batch is not None and self.batch < 1:
            raise InputError(f"the batch is {self.batch}; accepted are integers from 1")
        if isinstance(self.noise, str) and self.noise not in {"profile", "estimate"}:
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
        fitted = replace(self, method=AUTO, iterations=None)._fitted
        if fitted:
            raise InputError(
                f"{fitted} is a setting of a fit and does not apply to {AMORTISED}; leave it away or choose --method {FALLBACK}"
            )

    @property
    def is_point(self) -> bool:
        """Whether the method is a point estimate without a spread."""
        return self.method in REGULARIZERS

    @property
    def _fitted(self) -> str:
        """The first setting given that only a fit has; empty where there is none."""
        given = {
            "iterations": self.iterations,
            "rate scale": self.rate_scale,
            "weight": self.weight,
            "uncalibrated": not self.calibrated or None,
            "start": None if self.start == "wiener" else self.start,
        }
        return next((name for name, value in given.items() if value is not None), "")

    def method_for(self, bands: Sequence[Band]) -> str:
        """The method asked for, or the one that ``"auto"`` means for the bands of a scene."""
        if self.method != AUTO:
            return self.method
        if self._fitted or self.prior != AUTO:
            return FALLBACK
        names = [b.common_name for b in bands]
        together = choose_prior(names) != DEFAULT_PRIOR and choose_network(names) == DEFAULT_NETWORK
        return FALLBACK if together else DEFAULT_METHOD

    def prior_for(self, bands: Sequence[Band], method: str) -> str:
        """Name of the prior, of the network, or of the regulariser, for the bands of a scene and a method."""
        if self.prior != AUTO and not (method == FALLBACK and self.method == AMORTISED):
            return self.prior
        if method in REGULARIZERS:
            return method
        return (choose_network if method == AMORTISED else choose_prior)([b.common_name for b in bands])

    def check(self) -> None:
        """Refuse a device that is not there, or a prior, network or regulariser by name that is not there, before any scene is opened."""
        self.torch_device()
        if self.prior == AUTO:
            return
        if self.is_point:
            find_regularizer(self.method, self.prior)
        elif self.method == AMORTISED:
            find_pass(self.prior)
        else:
            find_prior(self.prior, download=self.download)

    def fit_settings(self, method: str, start: str) -> FitSettings:
        """The part that concerns a fit by a method, from where it starts."""
        steps = (None if self.method == AMORTISED else self.iterations) or _ITERATIONS[start]  # of a pass they are something else
        rate = _GENTLE if start == "pass" and steps <= _FEW else FitSettings.learning_rate
        return FitSettings(
            method=method, iterations=steps, learning_rate=rate, rate_scale=self.rate_scale, weight=self.weight, calibrated=self.calibrated
        )  # fmt: skip

    def pass_for(self, bands: Sequence[Band], method: str) -> AmortisedMethod:
        """The pass itself, or the one that a fit by another method starts from, which takes bands one by one."""
        name = self.prior_for(bands, AMORTISED) if method == AMORTISED else DEFAULT_NETWORK
        return make_pass(name, self.torch_device(), self.iterations if method == AMORTISED else None)

    def make_method(self, bands: Sequence[Band], method: str, start: AmortisedReconstructor | None) -> Method:
        """Load what a method needs for the bands of a scene, a fit with its start."""
        settings = self.fit_settings(method, "wiener" if start is None else "pass") if method in POSTERIORS else None
        return make_method(
            method, self.prior_for(bands, method), self.torch_device(), settings, weight=self.weight, iterations=self.iterations,
            download=self.download, start=start,
        )  # fmt: skip

    def outputs_of(self, paths: ScenePaths) -> tuple[ScenePaths, list[str]]:
        """The outputs that the method has, and what the user should know of those it has not.

        Raises
        ------
        InputError
            When standard deviations are asked for by name and the method has none.
        """
        if not self.is_point or not paths.uncertainty:
            return paths, []
        if paths.std is not None:
            raise InputError(f"{self.method} is a point estimate without standard deviations; leave --std away or choose --method vble-xz")
        return replace(paths, uncertainty=False), [f"{self.method} is a point estimate: there are no standard deviations"]

    def torch_device(self) -> torch.device:
        """The device to compute on.

        Raises
        ------
        InputError
            For ``cuda`` on a machine without one.
        """
        if self.device not in {"auto", "cpu", "cuda"}:
            raise InputError(f"device is {self.device!r}; accepted are auto, cpu and cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("no CUDA device is available on this machine; use --device auto or --device cpu")
        use_cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return torch.device("cuda" if use_cuda else "cpu")
