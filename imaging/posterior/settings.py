"""What is chosen before a fit: its settings, and the rate that suits the noise."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.names import POSTERIORS
from imaging.priors.base import LatentPrior

FAMILIES = ("auto", "uniform", "gaussian")
SHIFTS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Placements of the latent lattice, in halves of its stride, down and right."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a posterior is fitted.

    Attributes
    ----------
    method : {"vble-xz", "vble", "map"}
        Posterior in latent and image space, in latent space only, or a point.
    family : {"auto", "uniform", "gaussian"}
        Independent densities of the latents; "auto" takes those of the prior's encoder. Points for the method "map".
    iterations : int
        Steps of Adam for each lattice; each costs one decoder pass and its gradient. The rate falls along a cosine, not to zero, and the
        mean of the last two fifths of the iterates, at most ten, is the result: the noise of the draws averages out.
    learning_rate : float
        Peak rate, in units of the width that each latent's density is expected to have.
    weight : float or None
        Of the Kullback-Leibler term; 1 is Bayes' rule. None takes that, or 1.5 where at most half as many values were measured as are
        wanted, see `default_weight`.
    rate_ratio : float
        The rate scale is chosen so that the prior's decoder deviation is this many times the error that the best linear estimate is
        expected to leave, see `rate_scale`. Larger values regularise more.
    rate_scale : float or None
        Fixes the rate scale instead.
    lattices : int
        Shifted placements of the latent lattice, 1 to 4; each is fitted on its own and the posterior is their mixture.
    samples : int
        Latent samples behind mean and standard deviation.
    calibrated : bool
        Whether the latents' variances carry the prior's one factor; otherwise they are those of the variational posterior.
    precision : {"float32", "bfloat16"}
        Of the networks. bfloat16 takes a third less time where the processor has it, but its rounding shows in comparisons: two tile plans
        then differ by more than a hundredth of the standard deviation in half a percent of the pixels.
    """

    method: str = "vble-xz"
    family: str = "auto"
    iterations: int = 24
    learning_rate: float = 0.125
    weight: float | None = None
    rate_ratio: float = 1.6
    rate_scale: float | None = None
    lattices: int = 2
    samples: int = 32
    calibrated: bool = True
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.method not in POSTERIORS:
            raise ValueError(f"method is {self.method!r}; accepted are {', '.join(POSTERIORS)}")
        if self.family not in FAMILIES:
            raise ValueError(f"family is {self.family!r}; accepted are {', '.join(FAMILIES)}")
        for name in ("iterations", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "weight", "rate_ratio", "rate_scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be above 0")
        if not 1 <= self.lattices <= len(SHIFTS):
            raise ValueError(f"lattices is {self.lattices}; it must be from 1 to {len(SHIFTS)}")
        if self.precision not in {"float32", "bfloat16"}:
            raise ValueError(f"precision is {self.precision!r}; accepted are float32, bfloat16")


def decoding(z: Tensor, precision: str) -> AbstractContextManager[object]:
    """Context for the networks: bfloat16 autocast for ``"bfloat16"``; rates and the linear transform stay in float32."""
    return torch.autocast(z.device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def default_weight(share: float) -> float:
    """Weight of the Kullback-Leibler term for a share of measured values among those wanted.

    1 is Bayes' rule. Where little was measured the prior is better believed a little more, although it has errors of its own: 1.5 wins 0.1
    dB on tuning tiles at twice the sampling (docs/benchmark.md).
    """
    return 1.5 if share <= 0.5 else 1.0


def lattice_room(prior: LatentPrior) -> int:
    """Pixels that a canvas keeps free for shifting the latent lattice: half its stride."""
    return prior.stride // 2


def rate_scale(prior: LatentPrior, deviation: float, brightest: float, ratio: float = FitSettings.rate_ratio) -> float:
    r"""Factor on the scene that makes the prior's bit rate fit the measurement: :math:`s = \gamma / (\kappa\,\epsilon)`.

    A compressive autoencoder trained at one rate acts on ``s x`` as one trained with decoder deviation ``gamma / s`` (VBLE-xz, rate
    modulation without retraining). It should spend bits on what the measurement can tell, so that deviation goes with the error
    ``epsilon`` that the measurement leaves, see `expected_deviation`, in which blur counts as well as noise. The scaled scene is kept
    within the radiometric range of the training. The latents of a variational autoencoder have no quantisation step to be modulated:
    its scale is 1.

    Parameters
    ----------
    prior : LatentPrior
        Gives gamma.
    deviation : float
        epsilon, image units.
    brightest : float
        Signal that few pixels exceed, image units.
    ratio : float
        kappa; gamma / s over epsilon.
    """
    if prior.density == "gaussian":
        return 1.0
    return min(prior.gamma / (ratio * deviation), 1.5 / max(brightest, 1e-3))


def signal_levels(y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and 99 % quantile of the valid values of each item of ``(B, C, H, W)``, both ``(B,)``; zero where there are none."""
    means, highs = [], []
    for k, item in enumerate(y):
        values = item.flatten() if mask is None else item[mask.expand_as(y)[k] > 0]
        values = values if len(values) else item.new_zeros(1)
        means.append(values.mean())
        highs.append(values.kthvalue(math.ceil(0.99 * len(values))).values)
    return torch.stack(means), torch.stack(highs)
