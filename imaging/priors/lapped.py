"""A lapped block transform as the starting point of a learned analysis and synthesis."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor


def _dct(size: int, kind: int) -> Tensor:
    """Orthonormal DCT matrix of type II or IV, float64, rows are basis vectors."""
    n = torch.arange(size, dtype=torch.float64)
    shift = 0.5 if kind == 4 else 0.0
    matrix = torch.cos(math.pi / size * (n[:, None] + shift) * (n[None] + 0.5)) * math.sqrt(2 / size)
    if kind == 2:
        matrix[0] /= math.sqrt(2)
    return matrix


def lapped_bases(block: int = 8) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis vectors of the time-domain lapped transform (Tran, Liang and Tu 2003).

    A filter across each block boundary, then a DCT-II of each block. Unlike a modulated lapped transform it sends a constant signal into
    the first coefficient alone. Both are ``(block, 2 * block)``, float64, each vector centred on its block, whose length is even:
    ``c = analysis @ x`` on overlapping pieces, ``x = sum of synthesis.T @ c``; exact reconstruction.
    """
    half = block // 2
    eye, flip = torch.eye(half, dtype=torch.float64), torch.eye(half, dtype=torch.float64).flip(0)
    scaling = torch.ones(half, dtype=torch.float64)
    scaling[0] = 8 / 5
    inner = flip @ _dct(half, 2).T @ torch.diag(scaling) @ _dct(half, 4) @ flip
    butterfly = torch.cat([torch.cat([eye, flip], 1), torch.cat([flip, -eye], 1)])
    middle = torch.block_diag(eye, inner)
    before = 0.5 * butterfly @ middle @ butterfly
    after = torch.linalg.inv(before)
    dct = _dct(block, 2)
    analysis = torch.zeros(block, 2 * block, dtype=torch.float64)
    analysis[:, :block] += dct[:, :half] @ before[half:]
    analysis[:, block:] += dct[:, half:] @ before[:half]
    synthesis = torch.zeros(block, 2 * block, dtype=torch.float64)
    synthesis[:, :block] += dct[:, :half] @ after.T[half:]
    synthesis[:, block:] += dct[:, half:] @ after.T[:half]
    return analysis, synthesis


def frequency_order(block: int = 8) -> list[tuple[int, int]]:
    """Pairs (vertical, horizontal) of frequency indices, from the lowest diagonal to the highest."""
    return sorted(product(range(block), range(block)), key=lambda p: (p[0] + p[1], p[0]))


def lapped_kernels(block: int = 8) -> tuple[Tensor, Tensor]:
    """The two-dimensional lapped transform as 3 x 3 convolutions between pixel-unshuffled blocks and coefficients.

    Analysis gives coefficients, in the order of `frequency_order`, from unshuffled pixels, synthesis unshuffled pixels from coefficients:
    ``(block**2, block**2, 3, 3)`` float32 weights for ``conv2d`` each.
    """
    rows_a, rows_s = lapped_bases(block)
    order = frequency_order(block)
    half = block // 2
    a = torch.zeros(block, 3 * block, dtype=torch.float64)
    s = torch.zeros(block, 3 * block, dtype=torch.float64)
    a[:, half : half + 2 * block], s[:, half : half + 2 * block] = rows_a, rows_s
    a, s = a.reshape(block, 3, block), s.reshape(block, 3, block)  # coefficient, neighbour, position in block
    n = block * block
    analysis = torch.einsum("iap,jbq->ijpqab", a, a).reshape(block, block, n, 3, 3)
    # A pixel of this block is reached by the coefficient at offset d through the part of its vector at offset -d.
    synthesis = torch.einsum("iap,jbq->ijpqab", s.flip(1), s.flip(1)).reshape(block, block, n, 3, 3)
    pick = torch.tensor([i * block + j for i, j in order])
    analysis = analysis.reshape(n, n, 3, 3)[pick]
    synthesis = synthesis.reshape(n, n, 3, 3)[pick].transpose(0, 1)
    return analysis.float().contiguous(), synthesis.float().contiguous()
