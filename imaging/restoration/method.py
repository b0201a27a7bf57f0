"""What a way to restore windows is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imaging.errors import InputError
from imaging.names import AUTO
from imaging.raster.tiles import STEP
from imaging.sensors import SensorPhysics

WINDOW_BYTES = 620_000_000
"""Memory that a window may take, the same on every machine: the tiles of a run do not depend on where it runs."""

Progress = Callable[[int], None]


def torch_device(name: str) -> torch.device:
    """The device to compute on; ``"auto"`` is a GPU where there is one; `InputError` for ``cuda`` on a machine without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is available on this machine; use --device auto or --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == AUTO and torch.cuda.is_available()) else "cpu")


@dataclass(frozen=True)
class Window:
    """Windows that are restored together, in image units and in the order of the method's channels.

    ``y`` and ``mask`` are ``(B, C, h, w)``, the measured values and one where they are valid; ``origins`` the absolute latent position of
    each window. Rate scale and level, the mean signal, are those of the scene. ``extents`` are rows and columns of each window that lie in
    the scene, what is beyond being no part of it; empty where all of it does.
    """

    y: Tensor
    mask: Tensor
    origins: list[tuple[int, int]]
    rate_scale: float
    level: float
    seed: int
    samples: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)


class Method(ABC):
    """A way to restore windows.

    It is called ``kind`` in options; ``name`` and ``digest`` are those of its prior, network or regulariser, ``steps`` the iterations of
    one fit. It restores ``channels`` bands together, 1 for each by itself, in the order of ``bands``, common names, where these are known.
    ``border`` are pixels around what is measured that it needs because it is incomplete there. Latents have a ``stride``; canvases are
    multiples of ``lattice``, tiles' windows of ``step``, and keep ``room`` free for shifting the latents' lattice. Progress counts
    ``passes`` of a group of bands, at most. ``pixel_bytes`` is the memory for each pixel of a window while it is restored; measured on a
    CPU, generous.
    """

    kind: str
    name: str
    digest: str
    steps: int = 1
    pixel_bytes: int = 700
    channels: int = 1
    bands: tuple[str, ...] = ()
    border: int = 0
    stride: int = 1
    lattice: int = 1
    step: int = STEP
    room: int = 0
    passes: int = 1

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes."""

    @abstractmethod
    def halo(self, radius: int, scale: int) -> int:
        """How far what is not known beyond a window is carried into it, pixels of the restored scene; ``radius`` is the PSF's."""

    def tile(self, halo: int) -> int:
        """Side of a tile's core whose window takes a fixed budget of memory, a multiple of `STEP`."""
        side = math.isqrt(WINDOW_BYTES // self.pixel_bytes) - 2 * halo
        return min(max(side // STEP * STEP, 4 * STEP), 8192)

    def rate(self, physics: SensorPhysics, level: float, high: float) -> float:
        """Rate scale for a scene of this mean and brightest signal."""
        return 1.0

    @abstractmethod
    def restore(self, window: Window, physics: SensorPhysics, progress: Progress | None = None) -> dict[str, Tensor]:
        """``restored`` and, where there is a spread, ``std`` and ``sample_000`` ...; each ``(B, C, H, W)``, margins included."""

    def record(self) -> dict[str, Any]:
        """What standard deviations rest on: ``calibration``, and ``half_widths`` of guaranteed intervals where there are any."""
        return {"calibration": "none"}
