"""The texts, tables and charts of a report."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import rasterio

from imaging.report.bundle import bundle_section
from imaging.report.charts import Line, chart
from imaging.report.layers import Job, Survey, Trio, band_names, factors, unit_of
from imaging.report.noise_check import EXPLAINED, LAGS, WHITE, BandCheck, Residual, check_bands
from imaging.report.spectrum import Spectrum, ideal_gain, spectra
from imaging.report.tables import table
from imaging.restoration import Fusion, Restoration, SceneResult
from imaging.sensors import Band
from imaging.version import __version__

_NOISE = (
    "The chart compares the noise of the profile, the scene's own noise measured in its flattest blocks, and what a posterior draw, "
    "blurred and sampled as the sensor does it, leaves of the measurement. If scene, sensor and posterior are as modelled that residual "
    "has the profile's variance and no structure; a posterior that is somewhat wide raises it a little. A wrong MTF hardly shows in "
    "residuals: an edge or a target on the ground tells more."
)
_LIBRARIES = ("torch", "deepinv", "rasterio", "numpy")


def sections(job: Job, result: SceneResult, trio: Trio, found: Survey) -> dict[str, str]:
    """HTML by place in the template."""
    names, unit = band_names(job), unit_of(job)
    if isinstance(job, Fusion):
        question, fit = "How do the two scenes hang together?", bundle_section(job, unit)
    else:
        question = "Does the sensor profile fit this scene?"
        fit = f"<p>{_NOISE}</p>" + "".join(_fit(c, n, unit) for c, n in zip(check_bands(job), names, strict=True))
    return {
        "title": escape(job.paths.input.name), "summary": _summary(job, result),
        "notes": "".join(f"<li>{escape(n)}</li>" for n in result.notes),
        "question": question, "fit": fit, "charts": _charts(job, trio, found, names, unit),
        "settings": _settings(job), "sensor": _sensor(job, names), "timings": _timings(result), "versions": _versions(),
    }  # fmt: skip


def heading(name: str) -> str:
    """Name of a band for a heading."""
    return name if name.lower().startswith("band") else f"Band {name}"


def _grid(job: Job) -> str:
    """In words, how fine the outputs are."""
    finer = sorted({f for f in factors(job) if f > 1})
    times = "as measured" if not finer else f"{' and '.join(map(str, finer))} times as fine as measured"
    return f"of {job.bundles[0].pan.path.name}, {times}" if isinstance(job, Fusion) else times


def _summary(job: Job, result: SceneResult) -> str:
    distance = None if isinstance(job, Fusion) else job.decision.distance
    facts = [
        ("Scene", job.paths.input.name), ("Size", f"{result.width} x {result.height} pixels, {len(result.bands)} band(s)"),
        ("Sensor", f"{result.sensor}: {job.profile.title}".rstrip(": ")), ("Method", f"{result.method}, prior {result.prior}"),
        ("Grid", _grid(job)), *([("Like what the network knows", familiar(distance))] if distance is not None else []),
        ("Time", f"{result.seconds:.1f} s, {result.peak_memory_mb:.0f} MB"),
    ]  # fmt: skip
    reference = result.reference or {}
    if reference:
        text = f"PSNR {reference['psnr_before']:.2f} dB before, {reference['psnr_after']:.2f} dB after"
        if "coverage_90" in reference:
            text += f"; intervals of 90 % cover {reference['coverage_90']:.1%}, of 95 % {reference['coverage_95']:.1%}"
        facts.append(("Against the truth", text))
    return "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)


def familiar(distance: float) -> str:
    """In words, how far a scene lies inside or outside the ranges that a network was trained for; their middle is 50 % inside."""
    place = f"{abs(distance):.0%} of a range's width"
    return f"no: {place} outside" if distance > 0 else f"yes: {place} inside, 50% would be the middle of all ranges"


def _verdict(check: BandCheck, unit: str) -> tuple[str, str]:
    """Class and sentence: whether the profile's noise is the scene's."""
    if check.scene is None or check.factor is None:
        return "unknown", f"The scene's own noise cannot be told: {check.reason}."
    said = (
        f"The scene's own noise is {check.factor:.2f} times the profile's, give or take {100 * check.error:.0f} % "
        f"({check.scene.std:.3g} {unit} at {check.scene.level:.4g} {unit})"
    )
    if check.own:
        return "unknown", f"{said}, from which the profile's was estimated: that they agree proves nothing; see the residual."
    if check.scene.coloured:
        return "unknown", (
            f"{said}, but it is coloured: a resampled, compressed or denoised product. A white noise model is an approximation there, and "
            "standard deviations are indications."
        )
    if check.agrees is None:
        return "unknown", f"{said}: the estimate is too uncertain for a verdict; a larger scene tells more."
    if check.agrees:
        return "good", f"{said}: the noise model fits."
    more = "more" if check.factor > 1 else "less"
    return "bad", f"{said}: it has {more} noise than the profile says. Try --noise estimate, or correct the profile."


def _fit(check: BandCheck, name: str, unit: str) -> str:
    kind, sentence = _verdict(check, unit)
    shown, said = "", "No residual is shown: the method has no posterior to draw from, or too little was measured."
    if (residual := check.residual) is not None:
        white, (low, high) = "white" if residual.colour <= WHITE else "not white", EXPLAINED
        shown, said = _correlation(residual), (
            f"Residual of a posterior draw: {residual.ratio:.2f} times the profile's variance over {residual.pixels} pixels, largest "
            f"autocorrelation {residual.colour:.2f} ({white}; up to {WHITE} counts as white)."
        )  # fmt: skip
        if not low <= residual.ratio <= high:
            said += (
                f" Outside {low} to {high} the posterior's own width does not explain it: the profile is wrong, or the fit had too few "
                "iterations."
            )
    return (
        f'<h3>{escape(heading(name))}</h3><p class="verdict {kind}">{escape(sentence)}</p><div class="charts">'
        f"{_noise_chart(check, name, unit)}{shown}</div><p>{said}</p>"
    )


def _noise_chart(check: BandCheck, name: str, unit: str) -> str:
    residual, scene = check.residual, check.scene
    if residual is not None:
        low, high = float(residual.levels[0]), float(residual.levels[-1])
    else:
        middle = scene.level if scene is not None else check.noise.offset + 100.0
        low, high = check.noise.offset, 2 * middle - check.noise.offset
    x = np.linspace(low, high, 40)
    lines = [Line("profile", x, np.sqrt(check.noise.variance(x)), "model")]
    if scene is not None:
        lines.append(Line("the scene's own, from its flattest blocks", x, np.array([scene.std_at(v) for v in x]), "before"))
    if residual is not None:
        lines.append(Line("residual of a posterior draw", residual.levels, np.sqrt(residual.measured), "after", points=True))
    return chart(f"Noise of band {name} by brightness", lines, f"signal, {unit}", f"standard deviation, {unit}")


def _correlation(residual: Residual) -> str:
    shifts = range(-LAGS, LAGS + 1)
    rows = [[f"{r:+d}", *(f"{residual.correlation[LAGS + r, LAGS + c]:.2f}".replace("-0.00", "0.00") for c in shifts)] for r in shifts]
    return table(["rows \\ columns", *(f"{c:+d}" for c in shifts)], rows, "Autocorrelation of the residual by shift")


def _charts(job: Job, trio: Trio, found: Survey, names: list[str], unit: str) -> str:
    parts = []
    for k, (name, spectrum) in enumerate(zip(names, spectra(trio, factors(job)), strict=True)):
        middle = (found.edges[k][1:] + found.edges[k][:-1]) / 2
        share = {n: 100 * c[k] / max(int(c[k].sum()), 1) for n, c in found.counts.items()}
        lines = [Line("measured", middle, share["measured"], "before"), Line("restored", middle, share["restored"], "after")]
        parts.append(f'<h3>{escape(heading(name))}</h3><div class="charts">')
        parts.append(chart(f"Histogram of band {name}", lines, f"value, {unit}", "share of the pixels, %"))
        parts.append(_spectrum(job.bands[k], spectrum, name, unit) + "</div>")
    return "".join(parts)


def _spectrum(band: Band, spectrum: Spectrum, name: str, unit: str) -> str:
    frequency, power = spectrum.frequency, spectrum.power
    if not np.isfinite(power["restored"]).any():
        return "<p>No square of 64 x 64 pixels of the scene is valid everywhere: no spectrum.</p>"
    lines = [Line("measured", frequency, power["measured"], "before"), Line("restored", frequency, power["restored"], "after")]
    label = "cycles per measured pixel"
    first = chart(f"Radial power spectrum of band {name}", lines, label, f"power, {unit}²", log=True)
    gain = np.sqrt(power["restored"] / np.maximum(power["measured"], 1e-30))
    curves = [
        Line("gained", frequency, gain, "after"),
        Line("the blur undone entirely", frequency, ideal_gain(band.mtf, frequency), "model"),
    ]
    return first + chart(f"Contrast gained in band {name} by frequency", curves, label, "gain", log=True)


def _word(value: object) -> str:
    if value is None:
        return "by default"
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


def _settings(job: Job) -> str:
    rows = [[k.replace("_", " "), _word(v)] for k, v in asdict(job.options).items()]
    rows += [
        ["prior taken", job.method.name + (f", sha256 {job.method.digest[:16]}…" if job.method.digest else "")],
        *([["rate scale", ", ".join(f"{f.rate_scale:.4g}" for f in job.fitters)]] if isinstance(job, Restoration) else []),
        ["tiles", str(len(job.plan.tiles()))], ["restored", job.paths.restored_path.name],
        ["standard deviations", job.paths.std_path.name if job.paths.std_path else "none"],
    ]  # fmt: skip
    return table(["setting", "value"], rows, "Settings of the run")


def _sensor(job: Job, names: list[str]) -> str:
    rows = []
    own = [(b, b.name) for b in job.stacks[0].bands[0]] if isinstance(job, Fusion) and not job.sharp_too else []
    for band, name in [*own, *zip(job.bands, names, strict=True)]:
        mtf, noise = band.mtf, band.noise
        target = f", restored to {mtf.target:g}" if mtf.target else ""
        rows.append([name, "ground sample distance", f"{band.gsd:g} m", band.source])
        rows.append(
            [name, "MTF at Nyquist", f"{mtf.nyquist[0]:.3g} across, {mtf.nyquist[1]:.3g} along track, {mtf.shape}{target}", mtf.source]
        )
        if noise is not None:
            rows.append([name, "noise variance, DN²", f"{noise.sigma0:.4g}² + {noise.gain:.4g} (DN - {noise.offset:g})", noise.source])
    caption = f"Sensor profile {job.profile.name}: {job.profile.bits} bits, {job.profile.state}"
    return table(["band", "quantity", "value", "source"], rows, caption)


def _timings(result: SceneResult) -> str:
    rows = [[k, f"{v:.2f} s"] for k, v in result.stages.items()] + [["all", f"{result.seconds:.2f} s"]]
    return table(["stage", "time"], rows, "Time; reading and writing run beside the fit")


def _versions() -> str:
    rows: list[list[Any]] = [["imaging-restore", __version__], ["Python", platform.python_version()], ["GDAL", rasterio.__gdal_version__]]
    for name in (*_LIBRARIES, *(n for n in ("compressai",) if n in sys.modules)):
        try:
            rows.append([name, version(name)])
        except PackageNotFoundError:
            rows.append([name, "not installed as a package"])
    rows.append(["made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")])
    return table(["what", "version"], rows, "Versions")
