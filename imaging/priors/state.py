"""Weights of priors as state dicts."""

from __future__ import annotations

from torch import Tensor

from imaging.priors.base import LatentPrior
from imaging.releases import check_state

_CONSTANTS = ("_offset", "_quantized_cdf", "_cdf_length", ".scale_table", ".scale_bound", ".bound", ".pedestal", ".target", ".mask")
"""Ends of the names of buffers that no training changes: tables of bit streams, which are never written here, bounds and masks."""


def is_constant(name: str) -> bool:
    """Whether a name in a state dict is that of a buffer which the model has of itself."""
    return name.endswith(_CONSTANTS)


def weights(model: LatentPrior) -> dict[str, Tensor]:
    """State dict of a model without its constants."""
    return {k: v for k, v in model.state_dict().items() if not is_constant(k)}


def fill(model: LatentPrior, state: dict[str, Tensor], source: str) -> None:
    """Give a model all of its weights.

    Raises
    ------
    InputError
        When a weight is missing, unknown or of another shape; ``source`` names where the weights come from.
    """
    check_state(weights(model), state, source)
    model.load_state_dict(state, strict=False)
