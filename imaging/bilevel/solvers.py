"""First-order solvers for batches of smooth energies, until each image's gradient is short enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Slope = Callable[[Tensor, Tensor], Tensor]
"""Gradient of the energies at images ``(b, C, H, W)`` whose places in the whole batch are ``(b,)``."""

_PAIRS, _WORSE, _RESETS = 6, 10.0, 4
"""Pairs that are remembered; growth of the gradient that sends an image back; returns after which it descends plainly for a while."""
_BEYOND = 0.7
"""Slope along a step at its end, over that at its beginning, with the opposite sign, from which on the step was too long."""


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of each image, ``(B,)``."""
    found: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return found


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair of images, ``(B,)``."""
    return (a * b).flatten(1).sum(1)


def column(values: Tensor) -> Tensor:
    """``(B,)`` as ``(B, 1, 1, 1)``."""
    return values.reshape(-1, 1, 1, 1)


@dataclass
class Best:
    """The best iterate of each image so far, the length of its gradient, and how many gradients were taken of the image, both ``(B,)``."""

    x: Tensor
    length: Tensor
    iterations: Tensor


class _Batch:
    """Those images of a batch that are still worked on; the finished leave when few enough are left."""

    def __init__(self, start: Tensor, wanted: Tensor, patience: int, crowd: float) -> None:
        count, device = len(start), start.device
        self.best = Best(start.clone(), torch.full_like(wanted, math.inf), torch.zeros(count, dtype=torch.long, device=device))
        self.rows = torch.arange(count, device=device)
        self.wanted, self.patience, self.crowd = wanted, patience, crowd
        self.x, self.length = self.best.x, self.best.length.clone()
        self.stale, self.taken = (torch.zeros(count, dtype=torch.long, device=device) for _ in range(2))
        self.going = torch.ones(count, dtype=torch.bool, device=device)

    def record(self, x: Tensor, slope: Tensor) -> Tensor | None:
        """Take note of iterates and their gradients; returns which images to keep, or None while none leaves."""
        length = norms(slope)
        better = length < self.length
        self.x, self.length = torch.where(column(better), x, self.x), torch.where(better, length, self.length)
        self.stale = torch.where(better, 0, self.stale + 1)
        self.taken = self.taken + self.going
        self.going = self.going & (self.length > self.wanted[self.rows]) & (self.stale < self.patience) & torch.isfinite(length)
        if int(self.going.sum()) > self.crowd * len(self.rows):
            return None
        self.store()
        keep = self.going
        self.rows, self.x, self.length = self.rows[keep], self.x[keep], self.length[keep]
        self.stale, self.taken, self.going = self.stale[keep], self.taken[keep], self.going[keep]
        return keep

    def store(self) -> None:
        """Write the best iterates of those images that are still worked on."""
        self.best.x[self.rows], self.best.length[self.rows], self.best.iterations[self.rows] = self.x, self.length, self.taken


def momentum_of(convexity: float, smoothness: float) -> float:
    """Constant momentum of accelerated gradient descent between two bounds on the curvature (Nesterov 2004, 2.2.22)."""
    ratio = math.sqrt(convexity / smoothness)
    return (1 - ratio) / (1 + ratio)


def accelerated(
    slope: Slope, start: Tensor, wanted: Tensor, convexity: float, smoothness: float, limit: int, crowd: float, *, momentum: bool = True
) -> Best:  # fmt: skip
    """Accelerated gradient descent with the constant momentum of a strongly convex energy (Nesterov 2004, 2.2.22).

    It restarts where it goes uphill (O'Donoghue and Candes 2015); without momentum it is plain gradient descent. An image is finished when
    its gradient is as short as ``wanted``, ``(B,)``; iterations end at ``limit``. ``convexity`` and ``smoothness`` bound the eigenvalues of
    the Hessian. The finished leave the batch when no more than a share ``crowd`` is unfinished.
    """
    factor = momentum_of(convexity, smoothness) if momentum else 0.0
    batch = _Batch(start, wanted, 50 + math.ceil(2 / math.sqrt(convexity / smoothness)), crowd)
    x = z = start
    for _ in range(limit):
        gradient = slope(z, batch.rows)
        keep = batch.record(z, gradient)
        if keep is not None:
            x, z, gradient = x[keep], z[keep], gradient[keep]
            if not len(x):
                break
        following = z - gradient / smoothness
        uphill = inner(gradient, following - x) > 0
        z = following + torch.where(column(uphill), torch.zeros_like(x), factor * (following - x))
        x = following
    batch.store()
    return batch.best


@dataclass
class _Memory:
    """Pairs of steps and changes of the gradient, and which images are back to plain descent."""

    pairs: list[tuple[Tensor, Tensor, Tensor]]
    scale: Tensor
    resets: Tensor
    mark: Tensor

    def direction(self, gradient: Tensor) -> Tensor:
        """Two-loop recursion (Nocedal 1980); a pair of weight 0 has no effect."""
        q, alphas = gradient.clone(), []
        for step, change, weight in reversed(self.pairs):
            alphas.append(weight * inner(step, q))
            q -= column(alphas[-1]) * change
        q *= column(self.scale)
        for (step, change, weight), alpha in zip(self.pairs, reversed(alphas), strict=True):
            q += column(alpha - weight * inner(change, q)) * step
        return -q

    def add(self, step: Tensor, change: Tensor, back: Tensor, made: Tensor, plain: float) -> None:
        """Remember the pair of each image whose step is made; one that goes back forgets all others, and after some returns this too."""
        curvature, square = inner(step, change), inner(change, change)
        self.resets = self.resets + back
        useful = (curvature > 1e-8 * square.sqrt() * norms(step)) & (self.resets < _RESETS)
        weight = torch.where(useful & made, 1 / curvature.where(useful, torch.ones_like(curvature)), torch.zeros_like(curvature))
        scale = torch.where(useful, curvature / square.clamp(min=torch.finfo(square.dtype).tiny), torch.full_like(square, plain))
        self.scale = torch.where(made, scale, self.scale)
        forget = back | (self.resets >= _RESETS)
        self.pairs = [(s, c, torch.where(forget, torch.zeros_like(w), w)) for s, c, w in self.pairs]
        if len(self.pairs) < _PAIRS:  # as if each image had remembered nothing before
            self.pairs = [(torch.zeros_like(step), torch.zeros_like(step), torch.zeros_like(weight)), *self.pairs]
        following = [*self.pairs[1:], (step, change, weight)]
        self.pairs = [
            (torch.where(column(made), b[0], a[0]), torch.where(column(made), b[1], a[1]), torch.where(made, b[2], a[2]))
            for a, b in zip(self.pairs, following, strict=True)
        ]  # each image has its own order

    def forgive(self, length: Tensor) -> None:
        """Forget the returns of an image once its shortest gradient has halved since they began to count."""
        halved = length < 0.5 * self.mark
        self.resets, self.mark = torch.where(halved, 0, self.resets), torch.where(halved, length, self.mark)

    def keep(self, rows: Tensor) -> None:
        """Forget all images but these."""
        self.pairs = [(s[rows], c[rows], w[rows]) for s, c, w in self.pairs]
        self.scale, self.resets, self.mark = self.scale[rows], self.resets[rows], self.mark[rows]


def quasi_newton(slope: Slope, start: Tensor, wanted: Tensor, smoothness: float, limit: int, crowd: float) -> Best:
    """Limited-memory BFGS with unit steps (Liu and Nocedal 1989), guarded by slopes and lengths of the gradients.

    A step at whose end the energy rises again nearly as steeply as it fell at the beginning is shortened to where a line between both
    slopes is zero. An image whose gradient grows to ten times its shortest one goes back there and forgets; after four returns it descends
    by steps of one over the smoothness, which always converges, until its gradient has halved. No energy is evaluated: the gradient alone
    says how far away the minimiser is. Each image has its own memory, so that its result does not depend on its batch. Arguments are those
    of `accelerated`.
    """
    batch = _Batch(start, wanted, 60, crowd)
    x, gradient = start, slope(start, batch.rows)
    memory = _Memory([], torch.full_like(wanted, 1 / smoothness), torch.zeros_like(batch.taken), norms(gradient))
    home, uphill = x, gradient  # the best iterates and their gradients
    keep = batch.record(x, gradient)
    step = memory.direction(gradient)
    for _ in range(limit - 1):
        if keep is not None:
            x, gradient, home, uphill, step = x[keep], gradient[keep], home[keep], uphill[keep], step[keep]
            memory.keep(keep)
            if not len(x):
                break
        memory.forgive(batch.length)
        moved = x + step
        following = slope(moved, batch.rows)
        length = norms(following)
        back = ~(length <= _WORSE * batch.length)
        falling, rising = -inner(gradient, step), inner(following, step)
        beyond = (rising > _BEYOND * falling) & ~back & (memory.resets < _RESETS)
        better = length < batch.length
        home, uphill = torch.where(column(better), moved, home), torch.where(column(better), following, uphill)
        change = torch.where(column(torch.isfinite(length)), following - gradient, torch.zeros_like(step))
        memory.add(step, change, back, ~beyond, 1 / smoothness)
        stay = column(beyond)
        x = torch.where(column(back), home, torch.where(stay, x, moved))
        gradient = torch.where(column(back), uphill, torch.where(stay, gradient, following))
        shortened = column((falling / (falling + rising)).clamp(0.1, 0.8)) * step
        step = torch.where(stay, shortened, memory.direction(gradient))
        keep = batch.record(moved, following)
    batch.store()
    return batch.best
