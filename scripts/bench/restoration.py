"""The methods of imaging-restore against Wiener and total-variation deconvolution, for three sensors.

    python -m scripts.bench restoration --data DATA_FOLDER [--methods vble-xz wcrr ...] [--prior NAME|DIR] [--bands 1|3|4]

Scenes: panchromatic means, or the first bands, of NAIP test tiles 20 to 31 and, up to three bands, the middle of two
frames in linear light of a flight kept out of training. Several bands are restored together by a prior of as many channels, otherwise one
by one. Wiener uses the mean power spectrum of the training images; the weight of TV (deepinv, FISTA) is tuned on four tiles.
PSNR has full scale as peak; 8 pixels of border are not scored. The methods with learned regularisers, tv, foe, crr and wcrr, are as
imaging-restore offers them, their weight set by the noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

import imaging
from imaging.names import AMORTISED, REGULARIZERS
from imaging.restoration import RestoreOptions
from imaging.sensors import SensorProfile
from scripts.bench.results import Results
from scripts.bench.scores import figures
from scripts.bench.tables import Records, grouped, paired, pick, where, with_interval, with_intervals
from scripts.rivals.classical import mean_spectrum, total_variation, tuned_weight, wiener
from scripts.scenes import FULL
from scripts.sensors import Trial, sensors, trials
from scripts.split import frames, tiles

CLASSICAL = ("measurement", "Wiener", "TV")
OPTIONS = {"--data": {}, "--prior": {}, "--bands": {}, "--methods": {"default": [AMORTISED, "vble-xz"]}, "--iterations": {}, "--scenes": {}}
OVER = (*CLASSICAL[1:], "vble-xz")
Bandwise = Callable[[Trial], Tensor]


def classical(arguments: argparse.Namespace, profile: SensorProfile) -> dict[str, Bandwise]:
    """Methods for one band, the weight of TV tuned when it is first used."""
    spectrum = cache(lambda: mean_spectrum(tiles(arguments.data, "training").values()))
    weight = cache(lambda: tuned_weight(arguments.data, profile, spectrum()))
    return {
        "measurement": lambda t: t.y,
        "Wiener": lambda t: wiener(t, spectrum()),
        "TV": lambda t: total_variation(t, wiener(t, spectrum()), weight()),
    }


def by_band(t: Trial, method: Bandwise) -> dict[str, float]:
    """Figures of a method that takes the bands one by one."""
    method(t.by_band()[0])  # what is tuned once is not timed
    began = time.perf_counter()
    found = torch.cat([method(part) for part in t.by_band()], 1)
    return {"seconds": time.perf_counter() - began} | figures(t.scored(found), t.wanted())


def restored(t: Trial, options: RestoreOptions) -> dict[str, float]:
    """Figures of a method of the package."""
    began = time.perf_counter()
    found, std, _ = imaging.restore(t.y[0].numpy() * FULL, t.profile, options=options)
    cost = {"seconds": time.perf_counter() - began}
    return cost | figures(t.scored(found / FULL), t.wanted(), t.scored(std / FULL) if np.isfinite(std).all() else None)


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All scenes and sensors."""
    changed = {} if arguments.iterations is None else {"iterations": arguments.iterations}
    profiles = sensors(arguments.bands)
    simple = {name: classical(arguments, profile) for name, profile in profiles.items()}
    found = tiles(arguments.data, "test", arguments.bands, slice(arguments.scenes))
    scenes = found | frames(arguments.data, "test", arguments.bands)
    for key, t in trials(scenes, profiles, 0):
        for method in CLASSICAL:
            results.once(key | {"method": method}, by_band, t, simple[key["sensor"]][method])
        for method in arguments.methods:
            prior = "auto" if method in {AMORTISED, *REGULARIZERS} else arguments.prior
            results.once(key | {"method": method}, restored, t, RestoreOptions(prior=prior, method=method, **changed))


def tables(records: Records) -> dict[str, str]:
    """Means over all scenes, over tiles and over frames, gains and coverages with 95 % intervals over the scenes, and coverage alone."""
    by = {"sensor": "sensor", "method": "method"}
    columns = pick("psnr") | {f"over {k}": (f"over {k}", "") for k in OVER} | pick("ssim", "seconds", "coverage_90", "coverage_95")
    columns["seconds"] = ("s / scene", ".1f")
    found = {}
    for part in ("all", "tile", "frame"):
        some, shown = [r for r in records if part in ("all", r["scene"].split()[0])], []
        for r in with_intervals(some, by, "coverage_90", "coverage_95"):
            own = where(some, sensor=r["sensor"], method=r["method"])
            pairs = {k: paired(own, where(some, sensor=r["sensor"], method=k), "psnr") for k in OVER if k != r["method"]}
            shown.append(r | {f"over {k}": with_interval(v, "+.2f") for k, v in pairs.items()})
        found[part] = grouped(shown, by, columns)
    for method in dict.fromkeys(r["method"] for r in records if "coverage_90" in r):
        found[f"coverage of {method}"] = grouped(where(records, method=method), {"sensor": "sensor"}, pick("coverage_90", "coverage_95"))
    return found
