"""What happens when sensor or scene are not what is assumed: PSNR and coverage under mismatch.

    python -m scripts.bench mismatch --data DATA_FOLDER [--prior NAME|DIR] [--methods amortised vble-xz]

Each scene is measured by the sensor "raw" of the benchmark `restoration`, or one whose MTF at Nyquist is 20 % lower or higher or
whose noise deviation is 30 % lower or higher, and restored as if it were "raw". Scenes of another ground sample distance are the
benchmark's tiles averaged over 2 x 2 pixels (1.2 m) and USGS test tiles (0.3 m; a row says where the prior of a fit has seen
them in training); of another land cover, drone frames of a held-out source in linear light. Otherwise scenes are those of the benchmark's
tiles, six of them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from imaging.names import AMORTISED
from imaging.priors.zoo import find_prior
from imaging.sensors import SensorProfile
from scripts.bench.amortised import measured, methods
from scripts.bench.results import Results
from scripts.bench.tables import Records, grouped, pick, where, with_intervals
from scripts.scenes import FULL, Scenes, coarse
from scripts.sensors import RAW, louder, sensor, trials
from scripts.split import NAME, fine, frames, tiles

OPTIONS = {"--data": {}, "--prior": {}, "--methods": {"default": [AMORTISED, "vble-xz"]}}


def run(arguments: argparse.Namespace, results: Results) -> None:
    """All cases."""
    known, assumed, data = methods(prior=arguments.prior), sensor(*RAW), arguments.data
    (nyquist, snr), own = RAW, tiles(data, "test", part=slice(6))
    cases: dict[str, tuple[Scenes, SensorProfile]] = {
        "as assumed": (own, assumed),
        "MTF 20 % lower": (own, sensor(0.8 * nyquist, snr)),
        "MTF 20 % higher": (own, sensor(1.2 * nyquist, snr)),
        "noise 30 % lower": (own, louder(assumed, 0.7)),
        "noise 30 % higher": (own, louder(assumed, 1.3)),
        "1.2 m": ({name: coarse(x) for name, x in tiles(data, "test").items()}, assumed),
        "0.3 m": (fine(data, "test", part=slice(6)), assumed),
        "drone frames, linear light": (frames(data, "test"), assumed),
    }
    former = find_prior(arguments.prior).recipe.under("release").get("split", str, "former") != NAME
    for case, (scenes, actual) in cases.items():
        for key, t in trials(scenes, {"raw": actual}, 500):
            for method in arguments.methods:
                seen = former and case == "0.3 m" and method != AMORTISED
                once = {"case": f"{case}, seen in training" if seen else case, "method": method, "scene": key["scene"]}
                results.once(once, measured, known[method], replace(t, profile=assumed))


def tables(records: Records) -> dict[str, str]:
    """Means by case, in DN; coverage alone."""
    known = with_intervals(records, ("case", "method"), "coverage_90", "coverage_95")
    in_dn = [r | {"width": FULL * r["width"], "crps": FULL * r["crps"]} for r in known]
    covered = pick("coverage_90", "coverage_95") | {"block_4": ("95 %, means of 4 x 4", ".3f")}
    columns = pick("psnr") | covered | {"width": ("width of 95 % (DN)", ".1f"), "crps": ("CRPS (DN)", ".2f")}
    found = {"all": grouped(in_dn, {"case": "case", "method": "method"}, columns)}
    for method in dict.fromkeys(r["method"] for r in records):
        found[f"coverage of {method}"] = grouped(where(known, method=method), {"case": "what was wrong"}, covered)
    return found
