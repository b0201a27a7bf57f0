"""What a layer costs: bit operations, or milliseconds of a measured table. One formula serves the search's penalty and the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from imaging.errors import InputError
from imaging.superres.genotype import Genotype
from imaging.superres.operations import Operation
from imaging.superres.space import Layer, SearchSpace


class Cost(Protocol):
    """A cost of layers."""

    @property
    def unit(self) -> str:
        """Unit of the costs."""

    def of(self, layer: Layer, operation: str, bits: int, scale: int) -> float:
        """Cost of a layer, all its repeats, as one of its choices, for one pixel of the coarse grid."""


def _places(layer: Layer, scale: int) -> int:
    return layer.repeats * (scale**2 if layer.fine else 1)


@dataclass(frozen=True)
class BitOps:
    """Multiplications times bits of weights times bits of activations.

    The first layer runs in float, as its input is the image; it counts with 8 bits, as in published figures.
    """

    unit: str = "BitOps"

    def of(self, layer: Layer, operation: str, bits: int, scale: int) -> float:
        """Bit operations of a layer for one pixel of the coarse grid."""
        return float(_places(layer, scale) * Operation.parse(operation).macs(layer.cin, layer.cout) * bits**2)


@dataclass(frozen=True)
class LatencyTable:
    """Measured time of each convolution, in nanoseconds for one pixel of the grid it works on.

    Attributes
    ----------
    times : dict
        By ``"{cin} {cout} {operation}"``.
    machine : str
        What it was measured on.
    """

    times: dict[str, float]
    machine: str = ""
    unit: str = "ns"

    @staticmethod
    def key(cin: int, cout: int, operation: str) -> str:
        """Key of an operation between so many channels."""
        return f"{cin} {cout} {operation}"

    def of(self, layer: Layer, operation: str, bits: int, scale: int) -> float:
        """Nanoseconds of a layer for one pixel of the coarse grid; bits do not matter, as integer kernels have 8."""
        del bits
        if not Operation.parse(operation).kernels:
            return 0.0
        key = self.key(layer.cin, layer.cout, operation)
        if key not in self.times:
            raise InputError(
                f"the latency table has no {operation} from {layer.cin} to {layer.cout} channels; measure it again for this space"
            )
        return _places(layer, scale) * self.times[key]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({"machine": self.machine, "unit": self.unit, "times": self.times}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read from JSON; InputError where it is no such table."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            times = {str(k): float(v) for k, v in value["times"].items()}
            return cls(times, str(value.get("machine", "")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no latency table: expected JSON with times by operation") from error


def constant(space: SearchSpace, cost: Cost) -> float:
    """Cost of the layers that are not searched, for one pixel of the coarse grid."""
    return sum(cost.of(layer, layer.operations[0], layer.bits[0], space.scale) for layer in space.fixed())


def choices(space: SearchSpace, cost: Cost) -> dict[str, Tensor]:
    """For each layer the cost of its choices, ``(operations, bits)`` float64."""
    return {
        x.name: torch.tensor([[cost.of(x, o, b, space.scale) for b in x.bits] for o in x.operations], dtype=torch.float64)
        for x in space.layers()
    }


def expected(probabilities: dict[str, Tensor], table: dict[str, Tensor], constant_part: float) -> Tensor:
    """Expected cost under each layer's probabilities, ``(operations, bits)``; at one-hot ones it is the reported cost."""
    total = torch.as_tensor(constant_part, dtype=torch.float64)
    for name, p in probabilities.items():
        total = total.to(p.device) + (p.double() * table[name].to(p.device)).sum()
    return total


def reported(genotype: Genotype, cost: Cost) -> float:
    """Cost of a genotype for one pixel of the coarse grid, layers that are not searched included."""
    space = genotype.space
    searched = sum(cost.of(layer, *genotype.choice[layer.name], space.scale) for layer in space.layers())
    return searched + constant(space, cost)
