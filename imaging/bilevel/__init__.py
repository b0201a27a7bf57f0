"""Bilevel learning of regularisers: certified lower levels, hypergradients, and MAID."""

from __future__ import annotations

from imaging.bilevel.errors import estimated_error
from imaging.bilevel.hoag import HoagSettings, hoag
from imaging.bilevel.hypergradient import conjugate_gradients, hypergradient, minimiser
from imaging.bilevel.lower_level import Cost, LowerLevel, Solution
from imaging.bilevel.maid import Learned, MaidSettings, Step, maid
from imaging.bilevel.operators import Differences, FilterBank
from imaging.bilevel.problem import BilevelProblem, check_hypergradient
from imaging.bilevel.regularizers import FieldOfExperts, Regularizer, TotalVariation

__all__ = [
    "BilevelProblem",
    "Cost",
    "Differences",
    "FieldOfExperts",
    "FilterBank",
    "HoagSettings",
    "Learned",
    "LowerLevel",
    "MaidSettings",
    "Regularizer",
    "Solution",
    "Step",
    "TotalVariation",
    "check_hypergradient",
    "conjugate_gradients",
    "estimated_error",
    "hoag",
    "hypergradient",
    "maid",
    "minimiser",
]
