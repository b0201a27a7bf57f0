"""What is decided about a scene before its first pixel is restored, for arrays and files alike: its sensor, its range, its method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from imaging.amortised import DEFAULT_NETWORK, Excess, Limits, choose_network, scene_quantities, sensor_quantities
from imaging.errors import InputError
from imaging.names import AMORTISED, AUTO, DEFAULT_METHOD, ESTIMATE, FALLBACK, POSTERIORS, REGULARIZERS
from imaging.posterior import FitSettings
from imaging.priors import DEFAULT_PRIOR, choose_prior
from imaging.restoration.amortised import AmortisedMethod
from imaging.restoration.fitting import Fitter, Sample, make_fitters, scene_bands
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.method import Method, torch_device
from imaging.restoration.methods import find_pass, find_prior, make_fit, make_pass
from imaging.restoration.options import RestoreOptions
from imaging.restoration.radiometry import check_signal, stored_range
from imaging.restoration.request import SENSOR_NEEDED, check_names
from imaging.sensors import Band, ProductScene, SensorProfile, load_profile

Sensor = str | SensorProfile | None
"""Name of a profile, path of a TOML file, ``"estimate"``, a profile, or None for what a product's metadata say."""
_ITERATIONS = {"pass": 4, "wiener": FitSettings.iterations}
"""Steps of a fit by where it starts."""
"""So few steps from the pass are of this rate: larger ones leave a good start before they find a better place."""
_ESTIMATED_FROM = 512
"""Sides of the areas that sensors are estimated from, pixels."""
_SIDE, _AREAS = 128, 4
"""Squares of a scene that are looked at, pixels, and how many of them at most."""
_LEAST = 32
"""Smaller scenes are not looked at."""


class Known(Protocol):
    """What is known of a scene, stored in a file or an array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type."""

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """What the bands to restore are called."""

    def sample(self, side: int = 256) -> Sample:
        """Values and validity of some areas with valid pixels, ``side`` pixels wide."""


@dataclass(frozen=True)
class Decision:
    """How a scene is restored.

    ``bands`` are the sensor's in the order of the scene's, each with a noise model; ``full_scale`` is the stored value that counts as 1.
    The method has its prior, network or regulariser, on the device, and a fitter for each group of bands. ``distance`` is how far the scene
    is outside of what the network knows, see `Limits.distance`; None where no network was asked.
    """

    profile: SensorProfile
    bands: tuple[Band, ...]
    full_scale: float
    method: Method
    fitters: list[Fitter]
    notes: list[str]
    estimated: bool
    distance: float | None


def decide(scene: Known, sensor: Sensor, options: RestoreOptions, product: ProductScene | None = None) -> Decision:
    """Decide everything about a restoration but its tiles, from what is known of the scene, the sensor (or its product), and the options.

    What it needs is loaded. `InputError` when the sensor cannot be used, or not be estimated; or when what was asked for cannot be loaded,
    or does not fit the bands.
    """
    notes = list(product.notes) if product else []
    estimated = sensor == ESTIMATE
    if estimated:
        profile, report = _estimated(scene, options)
        notes += report
    else:
        profile = _profile(sensor, options, product)
    profile.match(scene.descriptions)
    if profile.state != "raw" and not product and not estimated:
        notes.append(f"{profile.name} is a delivered product: {profile.title}")
    sample = scene.sample()
    profile, full_scale, remarks = stored_range(profile, scene.dtype, _largest(sample), ESTIMATE if estimated else options.noise)
    bands = scene_bands(profile, scene.descriptions, sample, options.noise)
    notes += remarks + check_signal(bands, sample)
    if not estimated:  # a report of its own says so
        noises = [(b.name, b.noise) for b in bands if b.noise and b.noise.source.startswith("estimated")]
        notes += [f"noise of band {name} estimated: sigma0 {n.sigma0:.3g}, gain {n.gain:.3g}" for name, n in noises]

    def fitters_of(method: Method) -> list[Fitter]:
        return make_fitters(bands, full_scale, sample, method, options.seed, options.scale)

    method, fitters, reasons, distance = _choose(options, bands, sample, fitters_of)
    return Decision(profile, bands, full_scale, method, fitters, notes + reasons, estimated, distance)


def check_choice(options: RestoreOptions | FuseOptions) -> None:
    """Refuse a device, prior, network or regulariser that is not there, before any scene is opened; `InputError` with what there is."""
    torch_device(options.device)
    if options.prior == AUTO:
        return
    if isinstance(options, FuseOptions):
        check_names(None, options)
    elif options.is_point:
        from imaging.restoration.regularized import find_regularizer

        find_regularizer(options.method, options.prior)
    elif options.method == AMORTISED:
        find_pass(options.prior)
    else:
        find_prior(options.prior, download=options.download)


def _profile(sensor: Sensor, options: RestoreOptions, product: ProductScene | None = None) -> SensorProfile:
    """The profile asked for, or a product's own, with the options' MTF and noise in place of its own."""
    own = None if product is None else product.profile
    if own is not None and sensor in {None, own.name}:
        profile = own
    elif sensor is None:
        raise InputError(SENSOR_NEEDED)
    else:
        profile = sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
    return profile.with_overrides(mtf_nyquist=options.mtf_nyquist, noise=None if isinstance(options.noise, str) else options.noise)


def _estimated(scene: Known, options: RestoreOptions) -> tuple[SensorProfile, list[str]]:
    """Profile of a sensor that is not known, with the options' MTF and noise in place of its own; and a report."""
    from imaging.sensors import estimate_sensor  # loads what takes a quarter of a second

    sample = scene.sample(_ESTIMATED_FROM)
    bits = 8 if scene.dtype.itemsize == 1 else int(np.clip(math.ceil(math.log2(max(_largest(sample), 1) + 1)), 8, 16))
    profile, report = estimate_sensor(sample, scene.descriptions, bits, mtf_nyquist=options.mtf_nyquist)
    return _profile(profile, options), report


def _largest(sample: Sample) -> float:
    """The largest valid value; each area has one."""
    return max(float(values[valid].max()) for values, valid in sample)


def _choose(
    options: RestoreOptions, bands: tuple[Band, ...], sample: Sample, fitters_of: Callable[[Method], list[Fitter]]
) -> tuple[Method, list[Fitter], list[str], float | None]:  # fmt: skip
    """The method, its fitters, why it was chosen where that is not plain, and the scene's distance from what the network of a pass knows.

    A pass, or a fit that starts from one, holds where its network knows sensor and scene, or where it is insisted on.
    """
    wanted = method_for(options, bands)
    if wanted != AMORTISED and not (options.start == "pass" and wanted in POSTERIORS):
        method = load_method(options, bands, wanted, None)
        return method, fitters_of(method), [], None
    network = make_pass(
        prior_for(options, bands, AMORTISED) if wanted == AMORTISED else DEFAULT_NETWORK,  # a fit starts from a pass of each band
        torch_device(options.device), options.iterations if wanted == AMORTISED else None,
    )  # fmt: skip
    fitters = fitters_of(network)
    excesses, distance = unfamiliar(fitters, network.limits, sample)
    reasons = f"unlike what {network.name} was trained for: " + "; ".join(map(str, excesses))
    known = not (excesses and options.fallback)
    if wanted == AMORTISED and known:
        return network, fitters, [f"the scene is {reasons}; do not trust the deviations"] if excesses else [], distance
    method = load_method(options, bands, wanted if wanted != AMORTISED else FALLBACK, network if known else None)
    notes = [] if known else [f"fitted from Wiener filters by {method.kind}, as the scene is {reasons}; --no-fallback insists on the pass"]
    return method, fitters_of(method), notes, None


def method_for(options: RestoreOptions, bands: Sequence[Band]) -> str:
    """The method asked for, or the one that ``"auto"`` means for the bands of a scene."""
    if options.method != AUTO:
        return options.method
    if options.of_a_fit or options.prior != AUTO:
        return FALLBACK
    names = [b.common_name for b in bands]
    together = choose_prior(names) != DEFAULT_PRIOR and choose_network(names) == DEFAULT_NETWORK
    return FALLBACK if together else DEFAULT_METHOD


def prior_for(options: RestoreOptions, bands: Sequence[Band], method: str) -> str:
    """Name of the prior, of the network, or of the regulariser, for the bands of a scene and a method."""
    if options.prior != AUTO and not (method == FALLBACK and options.method == AMORTISED):
        return options.prior
    if method in REGULARIZERS:
        return method
    return (choose_network if method == AMORTISED else choose_prior)([b.common_name for b in bands])


def fit_settings(options: RestoreOptions, method: str, start: str) -> FitSettings:
    """Settings of a fit by a method, from where it starts."""
    steps = (None if options.method == AMORTISED else options.iterations) or _ITERATIONS[start]  # of a pass they are something else
    return FitSettings(method=method, iterations=steps, rate_scale=options.rate_scale, weight=options.weight, calibrated=options.calibrated)


def load_method(options: RestoreOptions, bands: Sequence[Band], method: str, start: AmortisedMethod | None) -> Method:
    """Load a fit, with the pass that it starts from, or the minimiser with a regulariser."""
    prior, device = prior_for(options, bands, method), torch_device(options.device)
    if method in REGULARIZERS:
        from imaging.restoration.regularized import make_point

        return make_point(method, prior, device, options.weight, options.iterations)
    settings = fit_settings(options, method, "wiener" if start is None else "pass")
    return make_fit(prior, device, settings, download=options.download, start=None if start is None else start.model)


def unfamiliar(fitters: list[Fitter], limits: Limits, sample: Sample) -> tuple[list[Excess], float]:
    """What of a sensor and of some squares of a scene is outside of a network's limits, and how far."""
    found: dict[str, list[float]] = {}
    squares = _squares(sample)
    for fitter in fitters:
        method = fitter.method
        if not isinstance(method, AmortisedMethod):
            raise TypeError("only a network has limits")
        channels = len(fitter.indices)
        parts = [sensor_quantities(fitter.physics, torch.tensor([fitter.level]), channels)]
        for values, valid in squares:
            y, mask = fitter.tensors(values[None, fitter.indices], valid[None, fitter.indices])
            posterior = method.model.fit(y, fitter.physics, mask=mask, level=fitter.level, margins=False, seed=fitter.seed)
            parts.append(scene_quantities(posterior, y, fitter.physics, mask, y.new_tensor([fitter.level])))
        for part in parts:
            for name, numbers in part.items():
                found.setdefault(name, []).extend(numbers)
    scene = {k: [float(np.mean(v))] if k == "residual" else v for k, v in found.items() if v}
    return limits.exceeded(scene), limits.distance(scene)


def _squares(sample: Sample) -> Sample:
    """Middles of the areas with the most valid pixels."""
    cut = []
    for values, valid in sample:
        height, width = values.shape[1:]
        row, column = (max(0, (n - _SIDE) // 2) // 8 * 8 for n in (height, width))
        part = (slice(None), slice(row, row + _SIDE), slice(column, column + _SIDE))
        if min(values[part].shape[1:]) >= _LEAST and valid[part].mean() > 0.5:
            cut.append((values[part], valid[part]))
    return sorted(cut, key=lambda pair: -float(pair[1].mean()))[:_AREAS]
