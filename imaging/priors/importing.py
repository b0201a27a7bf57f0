"""Checkpoints of compressai and of VBLE and VBLE-xz in their published layouts, as priors of this package."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imaging.errors import InputError
from imaging.priors.base import LatentPrior
from imaging.priors.families import make_prior
from imaging.priors.state import fill, is_constant

_BOTTLENECK = re.compile(r"^entropy_bottleneck\._?(matri(?:x|ces)|bias(?:es)?|factors?)\.?(\d)$")
_PLURAL = {"m": "matrices", "b": "biases", "f": "factors"}


class Imported(NamedTuple):
    """A converted checkpoint: the family, the arguments of its class, and the model with the checkpoint's weights."""

    family: str
    settings: dict[str, Any]
    model: LatentPrior


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch checkpoint, a dict with ``state_dict`` or the state dict itself; nothing in the file is executed.

    `InputError` when the file is none, or holds other things than tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        raise InputError(f"{path} is no PyTorch checkpoint of tensors alone ({type(error).__name__}); others are not read") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} holds no state dict of tensors")
    return {str(k): v for k, v in state.items()}


def _renamed(key: str) -> str:
    """A weight's name in the installed compressai's layout, also from older ones; the second decoder is called as in this package."""
    key = key.removeprefix("module.").replace(".downsample.", ".skip.")
    if key.startswith("variance_decoder."):
        return "std_decoder." + key.removeprefix("variance_decoder.")
    match = _BOTTLENECK.match(key)
    return f"entropy_bottleneck.{_PLURAL[match[1][0]]}.{match[2]}" if match else key


def _family(state: Mapping[str, Tensor], source: str) -> tuple[str, int, int]:
    """Family, hidden width and number of latents, from names and shapes."""
    if "g_a.0.conv1.weight" in state and "context_prediction.weight" in state:
        if not any(k.startswith("g_a.3.conv_a") for k in state):
            raise InputError(f"{source} is a cheng2020 model without attention; the one with attention can be imported")
        hidden = len(state["g_a.0.conv1.weight"])
        return "cheng", hidden, hidden
    if "g_a.0.weight" not in state or "g_a.6.weight" not in state:
        raise InputError(f"{source} has none of the known layouts: compressai's factorized, mbt2018-mean, mbt2018, cheng2020-attn")
    hidden, latents = len(state["g_a.0.weight"]), len(state["g_a.6.weight"])
    if "context_prediction.weight" in state:
        return "mbt", hidden, latents
    if "h_s.4.weight" not in state:
        return "factorized", hidden, latents
    if len(state["h_s.4.weight"]) != 2 * latents:
        raise InputError(f"{source} is a scale hyperprior without means; the one with means can be imported")
    return "mean-scale", hidden, latents


def convert(state: Mapping[str, Tensor], source: str, *, alpha: float | None = None, panchromatic: bool = False) -> Imported:
    """Make a prior of a checkpoint's tensors in a published layout; messages call it ``source``.

    ``alpha`` is the weight of the squared error in grey levels of 255 that the model was trained with; by default it follows from the
    checkpoint's ``log_gamma``. If ``panchromatic``, a network of three channels is used for one, replicated. `InputError` for an unknown
    layout, a missing or misshapen weight, or when the training weight is not known.
    """
    named = {_renamed(k): v.float() for k, v in state.items() if not k.endswith("num_batches_tracked")}
    log_gamma = named.pop("log_gamma", None)
    family, hidden, latents = _family(named, source)
    network_channels = named["g_a.0.conv1.weight" if family == "cheng" else "g_a.0.weight"].shape[1]
    if panchromatic and network_channels != 3:
        raise InputError(f"{source} has {network_channels} channels; only a network of 3 is replicated for panchromatic scenes")
    channels = 1 if panchromatic else network_channels
    if alpha is None:
        if log_gamma is None:
            raise InputError(f"{source} does not say at which rate it was trained; give its alpha")
        alpha = channels / (2 * math.log(2) * 255**2 * math.exp(2 * float(log_gamma.reshape(-1)[0])))
    settings = {
        "channels": channels, "alpha": alpha, "hidden": hidden, "latents": latents, "replicated": panchromatic,
        "spread": any(k.startswith("std_decoder.") for k in named),
    }  # fmt: skip
    model = make_prior(family, settings)
    fill(model, {k: v for k, v in named.items() if not is_constant(k)}, source)
    return Imported(family, settings, model)
