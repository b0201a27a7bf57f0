"""Where bfloat16 pays, the networks run in it; rates and the linear transform stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor


@cache
def _fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and "AVX512" in torch.backends.cpu.get_cpu_capability()


def decoding(z: Tensor, precision: str) -> AbstractContextManager[object]:
    """Context for the networks: bfloat16 autocast for ``"bfloat16"``, or for ``"auto"`` where the processor has it."""
    wanted = precision == "bfloat16" or (precision == "auto" and z.dtype == torch.float32 and _fast_bfloat16(z.device.type))
    return torch.autocast(z.device.type, dtype=torch.bfloat16) if wanted else nullcontext()
