"""A profile of a sensor that is not known, from a scene of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from imaging.errors import InputError
from imaging.sensors.blocks import Sample
from imaging.sensors.profile import Band, Mtf, SensorProfile, check_nyquist
from imaging.sensors.scene_mtf import SHARPENED, MtfEstimate, estimate_mtf
from imaging.sensors.scene_noise import NoiseEstimate, estimate_noise

_LEAST_TARGET, _SHARPER = 0.15, 1.75
"""MTF at Nyquist that delivered products are restored to: as in the profiles of Pleiades from 0.04 to 0.15, and from 0.2 to 0.35."""
_COMMON_NAMES = {"pan", "blue", "green", "red", "nir", "coastal", "yellow", "rededge", "nir08", "nir09", "swir16", "swir22"}


def estimate_sensor(
    sample: Sample, names: Sequence[str | None], bits: int, *, mtf_nyquist: float | None = None, gsd: float = 1.0, offset: float = 0.0,
    title: str = "sensor estimated from a scene",
) -> tuple[SensorProfile, list[str]]:  # fmt: skip
    """Estimate noise and MTF of each band of a scene, as a profile to check and keep.

    Parameters
    ----------
    sample : sequence of (ndarray, ndarray)
        Areas of the scene: values ``(C, h, w)`` in DN and validity ``(C, h, w)``; some millions of pixels are enough.
    names : sequence of str or None
        Name of each of the C bands; those without one become B1, B2 and so on.
    bits : int
        Useful bits of the stored integers, 1 to 16.
    mtf_nyquist : float, optional
        MTF at Nyquist that is known, both ways, above 0 and below 0.95; without it edges tell.
    gsd : float
        Ground sample distance, metres.
    offset : float
        DN of zero signal.
    title : str
        One line for the profile.

    Returns
    -------
    profile : SensorProfile
        ``product`` where the noise is coloured or edges overshoot, else ``raw``. Where the noise is coloured, its variance is raised to the
        low-frequency power density, so that a likelihood that takes it for white is not over-confident. A ``product`` is to be restored to
        1.75 times its contrast at Nyquist, at least 0.15, not to the full contrast.
    report : list of str
        Each estimate with its standard error, and warnings, a line each.

    Raises
    ------
    InputError
        Where the noise of a band cannot be estimated, no band has enough edges, or a number given is out of range.
    """
    check_nyquist(mtf_nyquist)
    if not 1 <= bits <= 16:
        raise InputError(f"the number of bits is {bits}; accepted are 1 to 16")
    if not 0 < gsd < math.inf:
        raise InputError(f"the ground sample distance is {gsd:g}; accepted are numbers of metres above 0")
    if any(v.shape[0] != len(names) for v, _ in sample):
        raise InputError(f"{len(names)} band names were given for areas of {', '.join(str(v.shape[0]) for v, _ in sample)} bands")
    labels = _labels(names)
    noises = [_noise(sample, k, offset, label) for k, label in enumerate(labels)]
    mtfs = [None] * len(labels) if mtf_nyquist is not None else _mtfs(sample, noises)
    bands, report = [], []
    for k, (label, noise) in enumerate(zip(labels, noises, strict=True)):
        mtf, note = _mtf_entry(mtfs, labels, k, mtf_nyquist)
        common = label.lower() if label.lower() in _COMMON_NAMES else None
        bands.append(Band(label, gsd, mtf, noise.model(), "estimated from the scene", common))
        report += [f"{label}: {line}" for line in [_noise_line(noise), *(f"warning: {n}" for n in noise.notes), *note]]
    product = any(n.coloured for n in noises) or any(m is not None and m.overshoot > SHARPENED for m in mtfs)
    state = "product" if product else "raw"
    if product:
        bands = [_to_target(b) for b in bands]
        report.append("a delivered product, by the colour of its noise or edges that overshoot: not restored to the full contrast")
    return SensorProfile("estimated", state, bits, tuple(bands), title, "estimated from the scene"), report


def _noise(sample: Sample, band: int, offset: float, label: str) -> NoiseEstimate:
    try:
        return estimate_noise(sample, band, offset)
    except InputError as error:
        raise InputError(f"band {label}: {error}") from error


def _to_target(band: Band) -> Band:
    """A band of a delivered product, restored no further than the profiles of such products are: what is left of its detail is little."""
    mtf = band.mtf
    target = _rounded(max(_LEAST_TARGET, _SHARPER * max(mtf.nyquist)))
    if target >= 1:
        return band
    source = f"{mtf.source}; target {target:g} assumed, as for other delivered products"
    return replace(band, mtf=replace(mtf, target=target, source=source))


def _labels(names: Sequence[str | None]) -> list[str]:
    """A name for each band, all different whatever their case."""
    labels: list[str] = []
    for k, name in enumerate(names):
        label = (name or "").strip() or f"B{k + 1}"
        while label.lower() in {v.lower() for v in labels}:
            label += "_"
        labels.append(label)
    return labels


def _mtfs(sample: Sample, noises: list[NoiseEstimate]) -> list[MtfEstimate | None]:
    """The MTF of each band, None for one without enough edges; an error where that is so of all."""
    found: list[MtfEstimate | None] = []
    failure = None
    for k, noise in enumerate(noises):
        try:
            found.append(estimate_mtf(sample, k, noise))
        except InputError as error:
            failure = error
            found.append(None)
    if failure is not None and not any(found):
        raise failure
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _noise_line(noise: NoiseEstimate) -> str:
    check = f", {noise.cross_check:.3g} DN by a second method" if math.isfinite(noise.cross_check) else ""
    return (
        f"noise {noise.std:.3g} +- {noise.std_error:.2g} DN at DN {noise.level:.0f}{check} (sigma0 {noise.sigma0:.3g} +- "
        f"{noise.sigma0_error:.2g}, gain {noise.gain:.3g} +- {noise.gain_error:.2g}, {noise.blocks} blocks)"
    )


def _mtf_entry(mtfs: Sequence[MtfEstimate | None], labels: list[str], k: int, given: float | None) -> tuple[Mtf, list[str]]:
    """The MTF of one band for the profile, and what to report of it."""
    if given is not None:
        return Mtf("gaussian", (given, given), source="given by the user"), [f"MTF at Nyquist {given:g}, given by the user"]
    own = mtfs[k]
    if own is None:  # the band with the most edges stands in
        label, other = max(((v, m) for v, m in zip(labels, mtfs, strict=True) if m is not None), key=lambda pair: sum(pair[1].edges))
        text = f"taken from band {label}: too few edges in this band"
        return Mtf(other.shape, (_rounded(other.nyquist[0]), _rounded(other.nyquist[1])), source=text), [f"warning: MTF {text}"]
    (across, along), (error, error_along) = own.nyquist, own.error
    text = f"{own.edges[0]} and {own.edges[1]} slanted edges, +- {error:.2g} across and {error_along:.2g} along track"
    line = (
        f"MTF at Nyquist {across:.3g} +- {error:.2g} across and {along:.3g} +- {error_along:.2g} along track, from {own.edges[0]} and "
        f"{own.edges[1]} slanted edges; they overshoot by {100 * own.overshoot:.1f} %"
    )
    entry = Mtf(own.shape, (_rounded(across), _rounded(along)), source=f"estimated from {text}")
    return entry, [line, *(f"warning: {n}" for n in own.notes)]
