"""Pictures of what a prior does, for the person who trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imaging.priors.base import LatentPrior


def _panel(x: Tensor) -> np.ndarray[Any, Any]:
    """``(C, H, W)`` in [0, 1] as 8-bit RGB ``(H, W, 3)``: the first three channels, or the only one."""
    shown = x[:3] if len(x) >= 3 else x[:1].expand(3, -1, -1)
    return (shown.float().clamp(0, 1) * 255).round().byte().cpu().permute(1, 2, 0).numpy()


def write_picture(rows: list[Tensor], path: Path) -> None:
    """Write rows of images, each row ``(N, C, H, W)`` in [0, 1], as one PNG."""
    from PIL import Image

    Image.fromarray(np.concatenate([np.concatenate([_panel(x) for x in row], 1) for row in rows], 0)).save(path)


@torch.no_grad()
def write_comparison(model: LatentPrior, images: Tensor, path: Path) -> None:
    """Draw images ``(N, C, H, W)`` above what the model makes of them after noise, and the decoder's deviation (white: 20 / 255)."""
    z, _ = model.perturb(images)
    write_picture([images, model.decode(z), model.decode_std(z) * 255 / 20], path)
