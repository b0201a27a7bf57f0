"""What a report says of a bundle: how the sharp and the coarse bands hang together."""

from __future__ import annotations

from html import escape

from imaging.report.tables import table
from imaging.restoration import Fusion

_INTRODUCTION = (
    "The weights say how much each multispectral band contributes to a sharp one, gain included; the shift says how the grids lie on each "
    "other against what the files tell. Contrast of the sharp band that none of these bands has tells nothing about them, and the model "
    "counts it apart. Values called measured are those of the multispectral pixel that holds each pixel of the fused scene. The check of "
    "noise models by a posterior draw, which reports of single scenes have, is left out for bundles."
)


def bundle_section(job: Fusion, unit: str) -> str:
    """Weights, shifts and what the sharp bands show beyond the others, for each coarse resolution."""
    return f"<p>{_INTRODUCTION}</p>" + "".join(_stack(job, k, unit) for k in range(len(job.stacks)))


def _stack(job: Fusion, index: int, unit: str) -> str:
    stack, bundle = job.stacks[index], job.bundles[index]
    known, (sharp, coarse) = stack.statistics, stack.bands
    rows = []
    for m, band in enumerate(coarse):
        weights, errors = known.weights[:, m].tolist(), known.errors[:, m].tolist()
        rows.append([band.name, *(f"{w:.3f}" + (f" \u00b1 {e:.3f}" if e else "") for w, e in zip(weights, errors, strict=True))])
    rows.append([f"offset, {unit}", *(f"{stack.full_scale * v:.3g}" for v in known.offsets.tolist())])
    rows.append(["contrast that none of them has", *(f"{v:.1%}" for v in known.outside.tolist())])
    caption = f"Weights and their standard errors; bands {stack.ratio} times as coarse"
    return f'<p class="verdict">{escape(_shift(job, index))}</p>' + table(
        [bundle.ms.path.name, *(f"in {b.name}" for b in sharp)], rows, caption
    )


def _shift(job: Fusion, index: int) -> str:
    """The shift in a sentence."""
    stack, told = job.stacks[index], job.bundles[index].shift
    right, down = (a - b for a, b in zip(stack.drift.middle, told, strict=True))
    found = f", found with a standard error of {stack.shift_error:.3f}" if stack.shift_error is not None else ", not looked for"
    varies = f"; it varies by {stack.drift.range:.2f} over the scene" if stack.drift.range else ""
    return f"Shift of the multispectral grid: {right:+.3f} panchromatic pixels to the right, {down:+.3f} down{found}{varies}."
