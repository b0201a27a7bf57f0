"""The pass and the fits beside each other: eight sensors, six kinds of scenes, errors of pixels and of block means.

    python -m scripts.bench amortised --data DATA_FOLDER [--use test] [--methods amortised vble-xz] [--bands 1|3|4]

Sensors: the three of the benchmark `restoration`, and five that no tuning saw: anisotropic, exponential, defocused (a disc of 1.1
pixels, blurred), nearly unblurred and noisy, and very noisy. Scenes, by what --use asks for (the split of the data): NAIP tiles, windows of
frames in linear light, two tiles at a fifth of their brightness, two tiles squared (contrast of linear light), and of tests also tiles of
0.3 m. Methods: "amortised", the pass; "vble-xz", the fit of 24 iterations on two lattices from Wiener filters; "vble-xz from the
pass", of 4 iterations; of three and four bands, which have the joint network and prior, also "band by band", the pass by the network of one
band. PSNR has full scale as peak; 8 pixels of border are not scored. Coverage of 90 and 95 % intervals of pixels, of 95 %
intervals of means over 4 x 4, 16 x 16 and 64 x 64 pixels, and the correlation of deviation and absolute error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from imaging.amortised import AmortisedReconstructor, load_network
from imaging.moments import Moments
from imaging.posterior import VBLE
from imaging.priors import load_prior
from imaging.restoration.deciding import fit_settings
from imaging.restoration.options import RestoreOptions
from scripts.bench.results import Results
from scripts.bench.scores import Estimate, of_posterior
from scripts.bench.tables import Records, by_ground, grouped, pick, table, where, with_interval
from scripts.scenes import MARGIN
from scripts.sensors import Trial, sensors, strangers, trials
from scripts.split import TILES, of_split

FITTED = "vble-xz"
OPTIONS = {
    "--data": {}, "--bands": {}, "--use": {"choices": list(TILES), "default": "test"},
    "--methods": {"default": ["amortised", FITTED, f"{FITTED} from the pass"]},
    "--sensors": {"default": "", "help": "only those whose name has this in it"},
    "--kinds": {"nargs": "+", "help": "only these kinds of scenes"},
}  # fmt: skip
KINDS = {"tile": "tiles", "dark": "darkened", "linear": "squared", "frame": "frames", "fine": "0.3 m"}
Fit = Callable[[Trial], tuple[Estimate, int]]
"""To a posterior's moments and the unmeasured pixels around it."""


def methods(bands: int = 1, prior: str | None = None) -> dict[str, Fit]:
    """The methods, by name."""
    name = {1: "pan", 3: "rgb", 4: "rgbn"}[bands]
    single, model = AmortisedReconstructor(load_network()), AmortisedReconstructor(load_network(f"{name}-amortised"))
    latent, options = load_prior(prior or name), RestoreOptions()
    plain, short = (VBLE(latent, fit_settings(options, FITTED, s)) for s in ("wiener", "pass"))
    margin = latent.border + MARGIN

    def by_band(t: Trial) -> tuple[Estimate, int]:
        items = single.fit(t.y.transpose(0, 1), t.physics(), margins=False)
        return lambda block=1: Moments(*(v.transpose(0, 1) for v in items.moments(block=block))), 0

    def fitted(vble: VBLE, t: Trial, *, start: bool) -> tuple[Estimate, int]:
        physics = t.physics(margin)
        return vble.fit_mixture(t.y, physics, border=0, x_init=single.each_band(t.y, physics) if start else None).moments, margin

    return {
        "amortised": lambda t: (model.fit(t.y, t.physics(), margins=False).moments, 0),
        "band by band": by_band,
        FITTED: lambda t: fitted(plain, t, start=False),
        f"{FITTED} from the pass": lambda t: fitted(short, t, start=True),
    }


def measured(fit: Fit, t: Trial) -> dict[str, float]:
    """All figures of one method on one scene."""
    began = time.perf_counter()
    moments, margin = fit(t)
    moments()
    return {"seconds": time.perf_counter() - began} | of_posterior(t, moments, margin)


def run(a: argparse.Namespace, results: Results) -> None:
    """What is asked for."""
    known = methods(a.bands)
    profiles = {name: p for name, p in (sensors() | strangers()).items() if a.sensors in name}
    for key, t in trials(of_split(a.data, a.use, a.bands), profiles, 700):
        for method in a.methods if a.kinds is None or key["scene"].split()[0] in a.kinds else ():
            results.once({"bands": a.bands, "method": method} | key, measured, known[method], t)


def gains(records: Records) -> str:
    """PSNR of the pass over that of the fit by sensor and kind of scene, on scenes that both saw; 95 % interval, and their number."""
    own = {(r["sensor"], r["scene"]): r["psnr"] for r in where(records, method="amortised")}
    fits = [r for r in where(records, method=FITTED) if (r["sensor"], r["scene"]) in own]
    both = [r | {"gain": own[r["sensor"], r["scene"]] - r["psnr"]} for r in fits]
    kinds = {kind: title for kind, title in KINDS.items() if any(r["scene"].startswith(kind) for r in both)}
    rows = []
    for sensor in dict.fromkeys(r["sensor"] for r in both):
        some = [[r for r in where(both, sensor=sensor) if r["scene"].startswith(kind)] for kind in kinds]
        rows.append([sensor, *(f"{with_interval(by_ground(s, 'gain'), '+.2f')} ({len(s)})" if s else "" for s in some)])
    return table(["sensor", *kinds.values()], rows)


def tables(records: Records) -> dict[str, str]:
    """By kind of scene, the kinds of several bands together; the pass over the fit; means over 64 x 64 pixels in all."""
    columns = dict(pick("psnr", "coverage_90", "coverage_95", "block_4", "block_16", "block_64", "correlation", "seconds"))
    by = {"sensor": "sensor", "method": "method"}
    if any(r["bands"] > 1 for r in records):
        del columns["seconds"]
        return {"several bands": grouped(records, {"bands": "bands"} | by, columns)}
    passes = [r for r in records if r["method"] != FITTED]
    kinds = dict.fromkeys(r["scene"].split()[0] for r in passes)
    found = {part: grouped([r for r in passes if part in ("all", r["scene"].split()[0])], by, columns) for part in ("all", *kinds)}
    pooled = grouped(passes, {"method": "method"}, pick("block_64"))
    return found | {"over the fit": gains(records), "64 x 64 in all": pooled}
