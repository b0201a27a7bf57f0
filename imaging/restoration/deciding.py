"""Which method restores a scene: as asked for, or one pass where its network knows sensor and scene, and a fit where it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from imaging.amortised import AmortisedReconstructor, Excess, Limits, load_network, scene_quantities, sensor_quantities
from imaging.restoration.fitting import Fitter, Sample, make_fitters
from imaging.restoration.method import Method
from imaging.restoration.methods import AMORTISED, AmortisedMethod
from imaging.restoration.options import FALLBACK, RestoreOptions
from imaging.sensors import Band

_SIDE, _AREAS = 128, 4
"""Squares of a scene that are looked at, pixels, and how many of them at most."""
_LEAST = 32
"""Smaller scenes are not looked at."""


@dataclass(frozen=True)
class Decision:
    """How a scene is restored.

    Attributes
    ----------
    method : Method
        What restores it.
    fitters : list of Fitter
        One for each group of bands.
    notes : list of str
        What the user should know.
    distance : float or None
        How far the scene is outside of what the network knows, see `Limits.distance`; None where no network was asked.
    """

    method: Method
    fitters: list[Fitter]
    notes: list[str] = field(default_factory=list)
    distance: float | None = None


def decide(options: RestoreOptions, bands: tuple[Band, ...], full_scale: float, sample: Sample) -> Decision:
    """Choose and load the method for the bands of a scene.

    Parameters
    ----------
    options : RestoreOptions
        As given.
    bands : tuple of Band
        Each with a noise model.
    full_scale : float
        Stored value of 1.
    sample : list
        Areas of the scene.

    Raises
    ------
    InputError
        When what was asked for cannot be loaded, or does not fit the bands.
    """

    def fitters_of(method: Method) -> list[Fitter]:
        return make_fitters(bands, full_scale, sample, method, options.seed, options.scale)

    wanted = options.method_for(bands)
    method = options.make_method(bands, wanted, start(options, bands) if wanted != AMORTISED else None)
    fitters = fitters_of(method)
    if not isinstance(method, AmortisedMethod):
        return Decision(method, fitters)
    excesses, distance = unfamiliar(fitters, method.limits, sample)
    if not excesses:
        return Decision(method, fitters, distance=distance)
    reasons = "; ".join(map(str, excesses))
    if not options.fallback:
        return Decision(method, fitters, [f"unlike what {method.name} was trained for ({reasons}): do not trust the deviations"], distance)
    other = options.make_method(bands, FALLBACK, None)
    note = f"restored by {FALLBACK}, as the scene is unlike what {method.name} was trained for: {reasons}; --no-fallback insists"
    return Decision(other, fitters_of(other), [note], distance)


def start(options: RestoreOptions, bands: tuple[Band, ...]) -> AmortisedReconstructor | None:
    """The pass that a fit begins with; None where it has its own beginning."""
    if options.is_point or options.start != "pass":
        return None
    return AmortisedReconstructor(load_network(device=options.torch_device()))


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
