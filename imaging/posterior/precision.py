"""The networks may run in bfloat16; rates and the linear transform stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def decoding(z: Tensor, precision: str) -> AbstractContextManager[object]:
    """Context for the networks: bfloat16 autocast for ``"bfloat16"``."""
    return torch.autocast(z.device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
