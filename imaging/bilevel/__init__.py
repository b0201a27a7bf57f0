"""Bilevel learning of regularisers: certified lower levels, hypergradients, and MAID."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.bilevel.derivative_free import derivative_free
from imaging.bilevel.experts import FieldOfExperts
from imaging.bilevel.fixed import NoisyProblems, fixed
from imaging.bilevel.history import Learned, Step
from imaging.bilevel.hoag import HoagSettings, hoag
from imaging.bilevel.hypergradient import Hypergradient, hypergradient, minimiser
from imaging.bilevel.hypergradient_error import estimated_error, rigorous_bound
from imaging.bilevel.linear import conjugate_gradients
from imaging.bilevel.lower_level import LowerLevel, Solution
from imaging.bilevel.maid import maid
from imaging.bilevel.maid_settings import MaidSettings
from imaging.bilevel.operators import Differences, FilterBank
from imaging.bilevel.patches import Patches, PatchSettings, denoise
from imaging.bilevel.problem import BilevelProblem, Problem, check_hypergradient
from imaging.bilevel.reconstructor import RegularizedReconstructor
from imaging.bilevel.regularizers import Regularizer, TotalVariation
from imaging.bilevel.ridge import RidgeRegularizer
from imaging.bilevel.stochastic import StochasticSettings, StochasticState, stochastic
from imaging.bilevel.vector_problems import LogisticProblem, QuadraticProblem
from imaging.bilevel.zoo import LearnedRegularizer, list_regularizers, load_regularizer, make_regularizer, save_regularizer
from imaging.lazy import former_names

__all__ = [
    "BilevelProblem", "Differences", "FieldOfExperts", "FilterBank", "HoagSettings", "Hypergradient", "Learned", "LearnedRegularizer",
    "LogisticProblem", "LowerLevel", "MaidSettings", "NoisyProblems", "PatchSettings", "Patches", "Problem", "QuadraticProblem",
    "RegularizedReconstructor", "Regularizer", "RidgeRegularizer", "Solution", "Step", "StochasticSettings", "StochasticState",
    "TotalVariation", "check_hypergradient", "conjugate_gradients", "denoise", "derivative_free", "estimated_error", "fixed", "hoag",
    "hypergradient", "list_regularizers", "load_regularizer", "maid", "make_regularizer", "minimiser", "rigorous_bound",
    "save_regularizer", "stochastic",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = former_names(
        __name__, Cost="imaging.bilevel.lower_level.Spent", Linear="imaging.bilevel.linear.Linear",
        minres="imaging.bilevel.linear.minres", polish="imaging.bilevel.hypergradient_error.polish",
    )  # fmt: skip
