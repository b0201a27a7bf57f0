"""Random draws that depend on the seed, the iteration and the absolute position, not on the tile."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STREAMS = {"z": 1, "h": 2, "x": 3}
"""Numbers of the main latents, the hyper-latents and the image."""


def _mix(x: Tensor) -> Tensor:
    """Avalanche mixing of 32-bit integers (Wang and Ellis' lowbias32)."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * -0x7B935975  # 0x846CA68B as a signed number
    return x ^ ((x >> 16) & 0xFFFF)


def _scalar(*values: int) -> int:
    """Mix a few Python integers into one signed 32-bit integer."""
    state = 0x9E3779B9
    for value in values:
        state = (state ^ (value & 0xFFFFFFFF)) & 0xFFFFFFFF
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            state = ((state ^ (state >> shift)) * factor) & 0xFFFFFFFF
        state ^= state >> 16
    return state - (1 << 32) if state >= 1 << 31 else state


def position_key(shape: torch.Size, origins: list[tuple[int, int]], seed: int, stream: str, device: torch.device) -> Tensor:
    """One 32-bit key for each value of ``(B, C, H, W)``, from its absolute position.

    ``origins`` are the absolute row and column of each item's first value; ``stream``, a key of `STREAMS`, separates the variables of a run
    with one seed.
    """
    _, channels, height, width = shape
    rows = torch.stack([torch.arange(r, r + height, dtype=torch.int32) for r, _ in origins]).to(device)
    columns = torch.stack([torch.arange(c, c + width, dtype=torch.int32) for _, c in origins]).to(device)
    key = _mix(_mix(rows[:, :, None] + _scalar(seed, STREAMS[stream])) ^ columns[:, None, :])
    bands = _mix(torch.arange(channels, dtype=torch.int32, device=device) * 0x01000193 + 1)
    return _mix(key[:, None] ^ bands[None, :, None, None])


def uniform(key: Tensor, iteration: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform draws in (-1/2, 1/2), one for each key; 23 bits, the same in float32 and float64."""
    bits = (_mix(key ^ _scalar(iteration, 0x5EED)) >> 9) & 0x7FFFFF
    return (bits.to(dtype) + 0.5) / float(1 << 23) - 0.5


def antithetic(key: Tensor, iteration: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform draws in (-1/2, 1/2); those of an odd iteration mirror those of the even one before it."""
    draws = uniform(key, iteration // 2, dtype)
    return draws if iteration % 2 == 0 else -draws


def normal(key: Tensor, iteration: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal draws, one for each key (Box and Muller 1958)."""
    radius = torch.sqrt(-2 * torch.log(uniform(key, 2 * iteration, dtype) + 0.5))
    return radius * torch.cos(2 * math.pi * uniform(_mix(key + 1), 2 * iteration + 1, dtype))
