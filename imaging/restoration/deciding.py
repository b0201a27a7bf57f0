"""Which method restores a scene: the pass, or a fit that starts from it, where its network knows sensor and scene; a fit where not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from imaging.amortised import Excess, Limits, scene_quantities, sensor_quantities
from imaging.names import AMORTISED, FALLBACK, REGULARIZERS
from imaging.restoration.amortised import AmortisedMethod
from imaging.restoration.fitting import Fitter, Sample, make_fitters
from imaging.restoration.method import Method
from imaging.restoration.options import RestoreOptions
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
    if wanted in REGULARIZERS or (wanted != AMORTISED and options.start != "pass"):
        method = options.make_method(bands, wanted, None)
        return Decision(method, fitters_of(method))
    network = options.pass_for(bands, wanted)
    fitters = fitters_of(network)
    excesses, distance = unfamiliar(fitters, network.limits, sample)
    reasons = f"unlike what {network.name} was trained for: " + "; ".join(map(str, excesses))
    if wanted == AMORTISED and not (excesses and options.fallback):
        notes = [f"the scene is {reasons}; do not trust the deviations"] if excesses else []
        return Decision(network, fitters, notes, distance)
    known = not (excesses and options.fallback)
    method = options.make_method(bands, wanted if wanted != AMORTISED else FALLBACK, network.model if known else None)
    notes = [] if known else [f"fitted from Wiener filters by {method.kind}, as the scene is {reasons}; --no-fallback insists on the pass"]
    return Decision(method, fitters_of(method), notes, distance)


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
