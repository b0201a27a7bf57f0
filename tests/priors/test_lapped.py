"""The lapped transform: reconstruction, treatment of a constant, coding gain."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.priors.lapped import frequency_order, lapped_bases, lapped_kernels


def pieces(block: int, blocks: int) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis matrices of a signal of several blocks, without its half blocks at both ends."""
    rows, columns = lapped_bases(block)
    analysis = torch.zeros(block * blocks, block * (blocks + 1), dtype=torch.float64)
    synthesis = torch.zeros_like(analysis)
    for k in range(blocks):
        analysis[block * k : block * (k + 1), block * k : block * (k + 2)] = rows
        synthesis[block * k : block * (k + 1), block * k : block * (k + 2)] = columns
    return analysis, synthesis


@pytest.mark.parametrize("block", [2, 4, 8, 16])
def test_signal_is_reconstructed_exactly(block: int) -> None:
    analysis, synthesis = pieces(block, 6)
    product = synthesis.T @ analysis
    inner = slice(block, -block)
    assert torch.allclose(product[inner, inner], torch.eye(5 * block, dtype=torch.float64), atol=1e-12)
    assert product[inner, :block].abs().max() < 1e-12


def test_constant_goes_to_the_first_coefficient_alone() -> None:
    rows, columns = lapped_bases(8)
    assert rows.sum(1)[0] == pytest.approx(math.sqrt(8))
    assert rows.sum(1)[1:].abs().max() < 1e-12
    assert (columns[0, :8] + columns[0, 8:]).tolist() == pytest.approx([1 / math.sqrt(8)] * 8)


def test_coding_gain_is_the_published_one() -> None:
    rows, columns = lapped_bases(8)
    n = torch.arange(16)
    covariance = 0.95 ** (n[:, None] - n[None]).abs().double()
    variance = torch.einsum("ip,pq,iq->i", rows, covariance, rows)
    gain = -10 * torch.log10(variance * columns.square().sum(1)).mean()
    # Tran, Liang and Tu 2003: 9.6 dB for the 8 x 16 time-domain lapped transform, 8.83 dB for the DCT.
    assert float(gain) == pytest.approx(9.55, abs=0.1)


def test_frequencies_are_ordered_by_diagonal() -> None:
    assert frequency_order(3) == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (1, 2), (2, 1), (2, 2)]


def test_convolutions_are_the_separable_transform() -> None:
    forward, backward = lapped_kernels(8)
    x = torch.randn(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    coefficients = F.conv2d(F.pixel_unshuffle(x, 8), forward, padding=1)
    rows, _ = lapped_bases(8)
    piece = x[0, 0, 20:36, 12:28].double()  # block (3, 2) with half a block around it
    expected = rows @ piece @ rows.T
    for k, (i, j) in enumerate(frequency_order(8)):
        assert float(coefficients[0, k, 3, 2]) == pytest.approx(float(expected[i, j]), abs=1e-5)
    restored = F.pixel_shuffle(F.conv2d(coefficients, backward, padding=1), 8)
    assert torch.allclose(restored[..., 8:-8, 8:-8], x[..., 8:-8, 8:-8], atol=1e-5)
