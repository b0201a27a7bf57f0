"""Linear analysis operators of regularisers, each with its exact adjoint and a bound on its norm."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

BORDERS = ("valid", "zero", "replicate", "reflect", "circular")


class Analysis(ABC):
    """A linear map from images ``(B, C, H, W)`` to responses ``(B, K, H', W')``."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Responses of images."""

    @abstractmethod
    def adjoint(self, u: Tensor, shape: torch.Size) -> Tensor:
        """Images ``shape`` of responses: ``<forward(x), u> = <x, adjoint(u)>``."""

    @abstractmethod
    def squared_norm(self) -> float:
        """An upper bound on the squared operator norm, for images of any size."""


class Differences(Analysis):
    """Forward differences to the right and to the lower neighbour, zero across the border: ``(B, 2 C, H, W)``, columns first."""

    def forward(self, x: Tensor) -> Tensor:
        """Differences of images."""
        across = F.pad(x[..., 1:] - x[..., :-1], (0, 1))
        along = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
        return torch.cat([across, along], 1)

    def adjoint(self, u: Tensor, shape: torch.Size) -> Tensor:
        """Negative divergence."""
        across, along = u.split(shape[1], 1)
        across, along = across[..., :-1], along[..., :-1, :]
        return F.pad(across, (1, 0)) - F.pad(across, (0, 1)) + F.pad(along, (0, 0, 1, 0)) - F.pad(along, (0, 0, 0, 1))

    def squared_norm(self) -> float:
        """At most 8, four for each axis."""
        return 8.0


def _sources(length: int, radius: int, border: str, device: torch.device) -> Tensor:
    """For each place of a padded axis the place it is a copy of."""
    places = torch.arange(-radius, length + radius, device=device)
    if border == "replicate":
        return places.clamp(0, length - 1)
    if border == "circular":
        return places % length
    if length <= radius:
        raise ValueError(f"an axis of {length} pixels cannot be reflected by {radius}; choose another border")
    return (length - 1) - ((places.abs()) - (length - 1)).abs()


class FilterBank(Analysis):
    """Correlation with filters.

    Parameters
    ----------
    filters : Tensor
        ``(K, C, k, k)``, k odd.
    border : {"valid", "zero", "replicate", "reflect", "circular"}
        ``valid`` has responses only where a filter lies within the image, as the cliques of a field of experts; the others keep its size.
    """

    def __init__(self, filters: Tensor, border: str = "valid") -> None:
        if border not in BORDERS:
            raise ValueError(f"the border is {border!r}; accepted are {', '.join(BORDERS)}")
        if filters.ndim != 4 or filters.shape[2] != filters.shape[3] or filters.shape[2] % 2 == 0:
            raise ValueError(f"filters have shape {tuple(filters.shape)}; expected (K, C, k, k) with k odd")
        self.filters = filters.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        self.border, self.radius = border, filters.shape[2] // 2

    def pad(self, x: Tensor) -> Tensor:
        """Images continued across the border."""
        if self.border == "valid":
            return x
        if self.border == "zero":
            return F.pad(x, (self.radius,) * 4)
        rows, columns = (_sources(n, self.radius, self.border, x.device) for n in x.shape[-2:])
        return x[..., rows, :][..., columns]

    def _unpad(self, x: Tensor, shape: torch.Size) -> Tensor:
        """Adjoint of `pad`: what lies across the border is added to the pixels it is a copy of."""
        if self.border == "valid":
            return x
        r, (height, width) = self.radius, shape[-2:]
        if self.border == "zero":
            return x[..., r : r + height, r : r + width]
        rows, columns = (_sources(n, r, self.border, x.device) for n in (height, width))
        folded = x.new_zeros(*x.shape[:2], height, x.shape[3]).index_add_(2, rows, x)
        return folded.new_zeros(*x.shape[:2], height, width).index_add_(3, columns, folded)

    def forward(self, x: Tensor) -> Tensor:
        """Responses of images."""
        return F.conv2d(self.pad(x), self.filters)

    def adjoint(self, u: Tensor, shape: torch.Size) -> Tensor:
        """Images of responses."""
        return self._unpad(F.conv_transpose2d(u, self.filters), shape)

    def filter_gradient(self, x: Tensor, u: Tensor) -> Tensor:
        """Gradient of ``<forward(x), u>`` with respect to the filters, summed over the batch: ``(K, C, k, k)``."""
        found: Tensor = conv2d_weight(self.pad(x), list(self.filters.shape), u)  # type: ignore[no-untyped-call]
        return found

    @torch.no_grad()
    def squared_norm(self) -> float:
        r"""A bound from the largest value of :math:`\sum_k |\hat c_k|^2` on a grid of frequencies.

        That sum is a trigonometric polynomial of degree k - 1 along each axis, which exceeds its largest value on N points by at most a
        factor :math:`1 / \cos(\pi (k - 1) / N)` for each (Ehlich and Zeller 1964). Copies of pixels across the border add to it.
        """
        size = self.filters.shape[2]
        points = 16 * size
        power = torch.fft.fft2(self.filters.double(), (points, points)).abs().square().sum(1).sum(0)
        copies = {"replicate": (self.radius + 1) ** 2, "reflect": 9}.get(self.border, 1)
        return float(power.max()) / math.cos(math.pi * (size - 1) / points) ** 2 * copies
