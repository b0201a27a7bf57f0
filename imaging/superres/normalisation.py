"""How cells are normalised, in the supernet and in derived networks."""

from __future__ import annotations

from torch import Tensor

NORMALISATIONS = ("adq", "adadm", "batch", "none")


def gain_of(kind: str, std: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Scale of a residual branch by the standard deviation of its input: ``w std + c`` (ADQ) or ``exp(w log std + c)`` (AdaDM)."""
    return slope * std + offset if kind == "adq" else (slope * std.clamp_min(1e-6).log() + offset).exp()
