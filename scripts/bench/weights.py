"""What the regularisers' rule for their weight loses against each scene's own best weight.

    python -m scripts.bench weights --data DATA_FOLDER [--regularizers NAME ...]

Crops of 96 x 96 measured pixels of the images for tests: a tile of 0.6 m, a frame of the test flight and a Kodak photograph in grey, behind
sensors from hardly any blur with much noise to much blur. The own best of a scene is that of six factors on the rule's weight, chosen by
its truth, 1 among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imaging.bilevel import LearnedRegularizer, RegularizedReconstructor, load_regularizer
from imaging.sensors import SensorProfile
from scripts.bench.results import Results
from scripts.bench.tables import Record, Records, grouped
from scripts.scenes import MARGIN, Array, Scenes, middle
from scripts.sensors import sensor, trial
from scripts.split import frames, photographs, tiles

SIDE = 96
FACTORS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
OPTIONS = {"--data": {}, "--regularizers": {"nargs": "+", "default": ["tv", "foe", "crr", "wcrr"]}}


def profiles() -> dict[str, SensorProfile]:
    """From hardly any blur to much."""
    blurs = {"MTF 0.94, noise 25/255": (0.94, 5.1), "MTF 0.94, SNR 25": (0.94, 25.0), "MTF 0.30, SNR 100": (0.3, 100.0)}
    return {k: sensor(*v) for k, v in (blurs | {"MTF 0.15, SNR 90": (0.15, 90.0), "MTF 0.10, SNR 40": (0.1, 40.0)}).items()}


def scenes(data: Path) -> Scenes:
    """One of each kind."""
    side, one = SIDE + 2 * MARGIN, slice(2, 3)
    seen = dict(list(frames(data, "test", side=side).items())[:1])
    found = tiles(data, "test", part=one) | seen | photographs(data, "test", "kodak", in_grey=True, part=one)
    return {k: np.ascontiguousarray(middle(x, side)) for k, x in found.items()}


def measured(learned: LearnedRegularizer, truth: Array, profile: SensorProfile) -> Record:
    """PSNR (dB) at the rule and at the best factor, and which that is."""
    seen = trial(truth, profile, 0)
    by_factor = {f: seen.quality(RegularizedReconstructor(learned, weight=f)(seen.y, seen.physics()), MARGIN) for f in FACTORS}
    factor = max(by_factor, key=lambda f: by_factor[f])
    return {"psnr": by_factor[1.0], "best": by_factor[factor], "lost": by_factor[factor] - by_factor[1.0], "factor": factor}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All regularisers, sensors and scenes."""
    some = scenes(arguments.data)
    for name in arguments.regularizers:
        learned = load_regularizer(name)
        for title, profile in profiles().items():
            for scene, truth in some.items():
                results.once({"regulariser": name, "sensor": title, "scene": scene}, measured, learned, truth, profile)


def tables(records: Records) -> dict[str, str]:
    """One table."""
    columns = {"psnr": ("PSNR, rule", ".2f"), "best": ("own best", ".2f"), "lost": ("lost", ".2f"), "factor": ("best factor", ".2g")}
    return {"all": grouped(records, {"regulariser": "regulariser", "sensor": "sensor", "scene": "scene"}, columns)}
