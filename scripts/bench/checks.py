"""What a report's checks of the noise model say with the true sensor profile and with wrong ones.

    python -m scripts.bench checks [--input data/pleiades_like_pan.tif] [--sensor pleiades-raw]

The scene's own noise over the profile's, the residual variance of posterior draws over the profile's, and the largest autocorrelation of
that residual; with the profile as it is, its noise times 0.7 and 1.4, its MTF at Nyquist times 4/3 and 2/3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from imaging.report.noise_check import check_bands
from imaging.restoration import RestoreOptions, ScenePaths, open_restoration
from imaging.sensors import SensorProfile, load_profile
from scripts.bench.results import Results
from scripts.bench.tables import Record, one_table
from scripts.command import SAMPLE
from scripts.sensors import louder

OPTIONS: dict[str, dict[str, object]] = {"--input": {"type": Path, "default": SAMPLE}, "--sensor": {}}


def profiles(profile: SensorProfile) -> dict[str, SensorProfile]:
    """The profile and wrong ones."""
    noisy, nyquist = {f"noise x {f:g}": louder(profile, f) for f in (0.7, 1.4)}, profile.bands[0].mtf.nyquist[0]
    return {"as it is": profile} | noisy | {f"MTF x {f:.2f}": profile.with_overrides(mtf_nyquist=f * nyquist) for f in (4 / 3, 2 / 3)}


def check(path: Path, profile: SensorProfile) -> Record:
    """Of the first band."""
    with TemporaryDirectory() as folder:
        job = open_restoration(ScenePaths(input=path, output=Path(folder) / "restored.tif"), profile, RestoreOptions())
        with job.scene:
            found = check_bands(job)[0]
    residual = {"ratio": found.residual.ratio, "colour": found.residual.colour} if found.residual else {}
    words = {True: "fits", False: "does not fit", None: "cannot be told"}[found.agrees]
    return {"factor": found.factor, "verdict": words} | residual


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All profiles."""
    for name, profile in profiles(load_profile(arguments.sensor)).items():
        results.once({"profile": name}, check, arguments.input, profile)


tables = one_table({"profile": "profile"}, {
    "factor": ("scene's noise over the profile's", ".2f"), "verdict": ("verdict", ""),
    "ratio": ("residual's variance over the profile's", ".2f"), "colour": ("largest autocorrelation", ".2f"),
})  # fmt: skip
