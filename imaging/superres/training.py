"""Training of a derived network: in float, then quantisation-aware."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.superres.data import Pairs, psnr
from imaging.superres.networks import Network, super_resolve


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What one training does, in float or quantisation-aware.

    Attributes
    ----------
    steps : int
        Batches.
    rate : float
        Of Adam, after a linear warm-up of 200 steps; falls to 0 by a half cosine.
    average : float
        Decay of the running mean of the weights that is kept.
    border : int
        Coarse pixels at the border of crops without loss.
    """

    steps: int = 20_000
    rate: float = 1e-3
    average: float = 0.999
    border: int = 4


class Training:
    """A training under way.

    Parameters
    ----------
    network : Network
        In float, or quantisation-aware.
    settings : TrainingSettings
        Steps and rates.

    Notes
    -----
    On a GPU the steps of these small networks are recorded once and replayed, as starting their kernels takes longer than running them.
    """

    def __init__(self, network: Network, settings: TrainingSettings) -> None:
        self.network, self.settings, self.step = network, settings, 0
        self.average = copy.deepcopy(network).eval()
        self.recorded = next(network.parameters()).is_cuda
        first = next(network.parameters()).new_tensor(settings.rate) if self.recorded else settings.rate
        self.optimiser = torch.optim.Adam(network.parameters(), first, capturable=self.recorded)
        self.update: Callable[[Tensor, Tensor], Tensor] | None = None

    def rate(self) -> float:
        """Learning rate of the coming step."""
        warm = min(1.0, (self.step + 1) / 200)
        return self.settings.rate * warm * 0.5 * (1 + math.cos(math.pi * self.step / self.settings.steps))

    def run(self, pairs: Pairs, every: int = 500) -> Iterator[dict[str, float]]:
        """Work through the steps; figures every so many of them and at the end."""
        total, count = torch.zeros((), device=pairs.tiles.device), 0
        self.network.train()
        while self.step < self.settings.steps:
            self._set_rate()
            coarse, fine = pairs.draw()
            if self.update is None:
                self.update = self._record(coarse, fine) if self.recorded else self._update
            loss = self.update(coarse, fine)
            self._follow()
            self.step += 1
            total += loss
            count += 1
            if self.step % every == 0 or self.step == self.settings.steps:
                yield {"step": self.step, "loss": float(total) / count}
                total.zero_()
                count = 0

    def _set_rate(self) -> None:
        for group in self.optimiser.param_groups:
            if self.recorded:
                group["lr"].fill_(self.rate())
            else:
                group["lr"] = self.rate()

    def _update(self, coarse: Tensor, fine: Tensor) -> Tensor:
        cut = self.settings.border * self.network.plan.scale
        loss = F.l1_loss(self.network(coarse)[..., cut:-cut, cut:-cut], fine[..., cut:-cut, cut:-cut])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return loss.detach()

    def _record(self, coarse: Tensor, fine: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Record a step on the GPU, after a few that are run as usual; returns what replays it."""
        given = coarse.clone(), fine.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._update(*given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._update(*given)

        def replay(coarse: Tensor, fine: Tensor) -> Tensor:
            for kept, current in zip(given, (coarse, fine), strict=True):
                kept.copy_(current)
            graph.replay()
            return loss

        return replay

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.settings.average, self.step / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on."""
        return {
            "network": self.network.state_dict(), "average": self.average.state_dict(), "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run was."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        own = [(group["capturable"], group["lr"]) for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state["optimiser"])
        for group, (capturable, rate) in zip(self.optimiser.param_groups, own, strict=True):  # the run may have been on another device
            group["capturable"], group["lr"] = capturable, rate
        self.step = state["step"]


@torch.no_grad()
def quality(network: Network, coarse: list[Tensor], fine: list[Tensor]) -> float:
    """Mean PSNR (dB) of the Y channel over images ``(1, bands, H, W)``, as many border pixels left out as the scale."""
    scale = network.plan.scale
    scores = [psnr(super_resolve(network, c, network.margin, scale), f, scale) for c, f in zip(coarse, fine, strict=True)]
    return float(torch.cat(scores).mean())
