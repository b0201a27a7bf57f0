"""Weights of priors: as state dicts, and as they are stored: in 16 bits, and in 8 where that is enough."""

from __future__ import annotations

import torch
from torch import Tensor

from imaging.priors.base import LatentPrior
from imaging.releases import check_state

_CONSTANTS = ("_offset", "_quantized_cdf", "_cdf_length", ".scale_table", ".scale_bound", ".bound", ".pedestal", ".target", ".mask")
"""Ends of the names of buffers that no training changes: tables of bit streams, which are never written here, bounds and masks."""

_ROBUST = ("decoder.", "std_decoder.", "hyper_encoder.", "hyper_decoder.", "context.", "mixing.", "refining.", "head.")
"""Beginnings of the names of convolutions that may be rounded to 8 bits: together they change the objective by 0.1 %."""
_DELICATE = ("decoder.0.",)
"""First layer of the decoder: latents of the lowest frequency are large. The encoder alone would change the objective by 1 %."""
_SMALL = 4096
"""Convolutions of fewer weights are not worth it."""
_STEP = ".step"


def is_constant(name: str) -> bool:
    """Whether a name in a state dict is that of a buffer which no training changes."""
    return name.endswith(_CONSTANTS)


def weights(model: LatentPrior) -> dict[str, Tensor]:
    """State dict of a model without its constants."""
    return {k: v for k, v in model.state_dict().items() if not is_constant(k)}


def fill(model: LatentPrior, state: dict[str, Tensor], source: str) -> None:
    """Give a model all of its weights; see `imaging.releases.check_state`."""
    check_state(weights(model), state, source)
    model.load_state_dict(state, strict=False)


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they are stored: float16, large convolutions that need no more int8 with a float32 step for each output channel."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        robust = name.startswith(_ROBUST) and not name.startswith(_DELICATE)
        if robust and value.ndim == 4 and value.numel() >= _SMALL:
            step = value.float().abs().amax((1, 2, 3)).clamp(min=1e-12) / 127
            found[name], found[name + _STEP] = (value / step[:, None, None, None]).round().to(torch.int8), step
        else:
            found[name] = value.half()
    return {k: v.contiguous() for k, v in found.items()}


def unpacked(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float32 weights of stored ones, see `packed`."""
    found = {}
    for name, value in stored.items():
        if value.dtype == torch.int8 and name + _STEP in stored:
            found[name] = value.float() * stored[name + _STEP].reshape(-1, *[1] * (value.ndim - 1))
        elif not (name.endswith(_STEP) and name.removesuffix(_STEP) in stored):
            found[name] = value.float()
    return found
