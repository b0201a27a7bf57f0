"""Differentiable search: weights on one half of the data, alphas on the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.errors import InputError
from imaging.superres.cost import BitOps, Cost, choices, constant, expected, reported
from imaging.superres.data import Pairs
from imaging.superres.genotype import Genotype
from imaging.superres.space import SearchSpace
from imaging.superres.supernet import Supernet, SupernetSettings


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What one search does.

    Attributes
    ----------
    epochs, steps, warmup : int
        Epochs, steps of each, and epochs at the beginning without updates of alphas.
    penalty : float
        Weight of the cost, relative to that of uniform probabilities, against the L1 loss.
    entropy : float
        Largest weight of the entropy of probabilities, 0 for none; its schedule is `entropy_weight`.
    rate, alpha_rate : float
        Of Adam for weights (falling to 0 by a half cosine over the epochs) and for alphas.
    decay, clip : float
        Weight decay, and largest norm of the weights' gradient.
    border : int
        Coarse pixels at the border of crops without loss.
    seed : int
        Of weights and noise.
    """

    epochs: int = 20
    steps: int = 100
    warmup: int = 4
    penalty: float = 1e-3
    entropy: float = 1e-3
    rate: float = 1e-3
    alpha_rate: float = 3e-3
    decay: float = 3e-8
    clip: float = 5.0
    border: int = 3
    seed: int = 0


def entropy_weight(epoch: int, epochs: int, warmup: int) -> float:
    """Share of the largest entropy weight in an epoch: 0 in warm-up and for a quarter of the rest, then rising to 1.

    It rises as ``(e - W) / (E - 1 - W)`` times the logarithm of ``e - W - D + 2`` to the base ``E - W - D + 1``, where e is the epoch, E
    are the epochs, W is the warm-up and D a quarter of the rest.
    """
    late = epoch - warmup
    delay = (epochs - warmup) // 4
    if late < delay or late < 0 or epochs - 1 - warmup <= 0:
        return 0.0
    base = epochs - delay - warmup + 1
    return late / (epochs - 1 - warmup) * math.log(late - delay + 2) / math.log(base)


def derive(supernet: Supernet, cost: Cost | None = None, most: float = math.inf) -> Genotype:
    """The most probable choice of each layer, or the most probable choices together that cost no more than a limit.

    Parameters
    ----------
    supernet : Supernet
        Searched.
    cost : Cost, optional
        What is limited; bit operations unless given.
    most : float
        Largest cost for one pixel of the coarse grid, layers that are not searched included, in the cost's unit.

    Raises
    ------
    InputError
        Where even the cheapest choices cost more.
    """
    space, cost = supernet.space, cost or BitOps()
    table = choices(space, cost)
    best: list[tuple[float, float, tuple[int, ...]]] = [(constant(space, cost), 0.0, ())]  # cost, log-probability, choices so far
    for layer in space.layers():
        costs = table[layer.name].flatten().tolist()
        logs = supernet.alpha(layer.name).detach().flatten().double().log_softmax(0).tolist()
        longer = [(c + x, p + q, (*taken, k)) for c, p, taken in best for k, (x, q) in enumerate(zip(costs, logs, strict=True))]
        best, likeliest = [], -math.inf
        for state in sorted(longer, key=lambda state: (state[0], -state[1])):
            if state[1] > likeliest:  # dearer ones must be more probable, layers add up
                best.append(state)
                likeliest = state[1]
    within = [state for state in best if state[0] <= most]
    if not within:
        raise InputError(f"no network of this space costs at most {most:g} {cost.unit}; the cheapest costs {best[0][0]:g}")
    chosen = zip(space.layers(), within[-1][2], strict=True)
    return Genotype(space, {x.name: (x.operations[k // len(x.bits)], x.bits[k % len(x.bits)]) for x, k in chosen})


@dataclass
class Search:
    """A search under way.

    Attributes
    ----------
    space : SearchSpace
        What is searched.
    settings : SearchSettings
        How.
    supernet_settings : SupernetSettings
        Quantisation and normalisation of the supernet.
    cost : Cost
        What is penalised.
    device : torch.device
        Where.
    """

    space: SearchSpace
    settings: SearchSettings = field(default_factory=SearchSettings)
    supernet_settings: SupernetSettings = field(default_factory=SupernetSettings)
    cost: Cost = field(default_factory=BitOps)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.settings.seed)
        self.supernet = Supernet(self.space, self.supernet_settings).to(self.device)
        s, net = self.settings, self.supernet
        self.optimiser = torch.optim.Adam(net.weights(), s.rate, weight_decay=s.decay)
        self.alpha_optimiser = torch.optim.Adam(net.alphas.parameters(), s.alpha_rate, betas=(0.5, 0.999))
        self.table = {k: v.to(self.device) for k, v in choices(self.space, self.cost).items()}
        self.constant = constant(self.space, self.cost)
        with torch.no_grad():
            self.reference = float(expected(net.probabilities(), self.table, self.constant))

    def loss(self, pairs: Pairs) -> Tensor:
        """L1 loss of one batch, borders left out."""
        coarse, fine = pairs.draw()
        cut = self.settings.border * self.space.scale
        return F.l1_loss(self.supernet(coarse)[..., cut:-cut, cut:-cut], fine[..., cut:-cut, cut:-cut])

    def penalties(self) -> Tensor:
        """What is added to the loss of alphas: cost and entropy."""
        p = self.supernet.probabilities()
        total = self.settings.penalty * expected(p, self.table, self.constant).float() / self.reference
        weight = self.settings.entropy * entropy_weight(self.epoch, self.settings.epochs, self.settings.warmup)
        if weight:
            total = total - weight * torch.stack([(q * q.clamp_min(1e-12).log()).sum() for q in p.values()]).sum()
        return total

    def step_alphas(self, pairs: Pairs) -> float:
        """Update the alphas on a batch of their own data; returns the loss."""
        self.alpha_optimiser.zero_grad()
        loss = self.loss(pairs)
        alphas = list(self.supernet.alphas.parameters())
        gradients = torch.autograd.grad(loss + self.penalties(), alphas)
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self.alpha_optimiser.step()
        return float(loss.detach())

    def step_weights(self, pairs: Pairs) -> float:
        """Update the weights on a batch of their own data; returns the loss."""
        self.optimiser.zero_grad()
        loss, weights = self.loss(pairs), self.supernet.weights()
        for parameter, gradient in zip(weights, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(weights, self.settings.clip)
        self.optimiser.step()
        return float(loss.detach())

    def run(self, of_weights: Pairs, of_alphas: Pairs) -> Iterator[dict[str, Any]]:
        """Work through the epochs; after each its figures.

        Parameters
        ----------
        of_weights, of_alphas : Pairs
            Of different images.
        """
        s = self.settings
        while self.epoch < s.epochs:
            for group in self.optimiser.param_groups:
                group["lr"] = s.rate * 0.5 * (1 + math.cos(math.pi * self.epoch / s.epochs))
            losses = []
            for _ in range(s.steps):
                if self.epoch >= s.warmup:
                    self.step_alphas(of_alphas)
                losses.append(self.step_weights(of_weights))
            self.epoch += 1
            genotype = derive(self.supernet)
            probabilities = {k: [[round(float(v), 4) for v in row] for row in p.detach()] for k, p in self.supernet.probabilities().items()}
            figures = {"epoch": self.epoch, "loss": sum(losses) / len(losses), "cost": reported(genotype, self.cost)}
            self.history.append(figures | {"probabilities": probabilities})
            yield figures

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on."""
        return {
            "supernet": self.supernet.state_dict(), "optimiser": self.optimiser.state_dict(), "alphas": self.alpha_optimiser.state_dict(),
            "epoch": self.epoch, "history": self.history,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run was."""
        self.supernet.load_state_dict(state["supernet"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.alpha_optimiser.load_state_dict(state["alphas"])
        self.epoch, self.history = state["epoch"], state["history"]
