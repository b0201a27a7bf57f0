"""Learned potentials: even functions whose second derivative is a quadratic spline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.bilevel.potentials import piecewise


@dataclass(frozen=True)
class SplinePotential:
    r"""An even potential :math:`\varphi` with :math:`\varphi''(s) = \sum_j d_j B_2(|s| / \Delta - j)`, :math:`\varphi(0) = 0`.

    B is the centred quadratic B-spline, and :math:`\Delta` the ``step`` between nodes; the coefficients d are those of the nodes 0 to
    ``N - 1``. The second derivative is continuously differentiable, lies between the least and the largest coefficient, and vanishes from
    the last node on, so that the potential grows linearly from there.
    """

    coefficients: Tensor
    step: float

    def pieces(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Around each node, ``(N + 2,)``: value, slope and half bend of the second derivative; first derivative; potential."""
        d = torch.cat([self.coefficients[1:2], self.coefficients, self.coefficients.new_zeros(3)])
        before, here, after = d[:-2], d[1:-1], d[2:]
        c0, c1, c2 = (before + 6 * here + after) / 8, (after - before) / 2, (before - 2 * here + after) / 2
        right, left = c0 / 2 + c1 / 8 + c2 / 24, c0 / 2 - c1 / 8 + c2 / 24
        slope = torch.cat([torch.zeros_like(c0[:1]), torch.cumsum(right[:-1] + left[1:], 0)])
        up, down = slope / 2 + c0 / 8 + c1 / 48 + c2 / 192, slope / 2 - c0 / 8 + c1 / 48 - c2 / 192
        value = torch.cat([torch.zeros_like(c0[:1]), torch.cumsum(up[:-1] + down[1:], 0)])
        return c0, c1, c2, slope, value

    def _places(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest node of each value, and the distance from it in steps."""
        scaled = s.abs() / self.step
        node = scaled.round().clamp(max=len(self.coefficients) + 1)
        return node.long(), scaled - node

    def second(self, s: Tensor) -> Tensor:
        """Second derivative."""
        c0, c1, c2, _, _ = self.pieces()

        def part(s: Tensor) -> Tensor:
            j, w = self._places(s)
            return c2.take(j).mul_(w).add_(c1.take(j)).mul_(w).add_(c0.take(j))

        return piecewise(part, s)

    def first(self, s: Tensor) -> Tensor:
        """First derivative, odd."""
        c0, c1, c2, slope, _ = self.pieces()
        half, third = c1 / 2, c2 / 3

        def part(s: Tensor) -> Tensor:
            j, w = self._places(s)
            return third.take(j).mul_(w).add_(half.take(j)).mul_(w).add_(c0.take(j)).mul_(w).add_(slope.take(j)).mul_(s.sign() * self.step)

        return piecewise(part, s)

    def value(self, s: Tensor) -> Tensor:
        """The potential itself."""
        c0, c1, c2, slope, value = self.pieces()
        j, w = self._places(s)
        inside = slope.take(j) + w * (c0.take(j) / 2 + w * (c1.take(j) / 6 + w * c2.take(j) / 12))
        return self.step**2 * (value.take(j) + w * inside)

    def moments(self, s: Tensor, g: Tensor) -> Tensor:
        """Sums for each node, ``(4, N + 2)``, that `paired` makes ``sum(g * first(s))`` of, differentiable by the coefficients.

        With these sums S, ``sum(g * first(s)) = step * (S[0] @ slope + S[1] @ c0 + S[2] @ c1 / 2 + S[3] @ c2 / 3)``.
        """
        j, w = self._places(s)
        j, w, g = j.flatten(), w.flatten(), (g * s.sign()).flatten()
        found = []
        for power in range(4):
            found.append(g.new_zeros(len(self.coefficients) + 2).index_add_(0, j, g))
            if power < 3:
                g = g * w
        return torch.stack(found)

    def paired(self, moments: Tensor) -> Tensor:
        """``sum(g * first(s))`` from `moments`, differentiable by the coefficients."""
        c0, c1, c2, slope, _ = self.pieces()
        return self.step * (moments[0] @ slope + moments[1] @ c0 + moments[2] @ c1 / 2 + moments[3] @ c2 / 3)
