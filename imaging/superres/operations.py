"""What a searched layer may be: convolutions in series, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

NORMALISATIONS = ("adq", "adadm", "batch", "none")
"""How cells are normalised, in the supernet and in derived networks."""
_KERNEL = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class Operation:
    """Convolutions in series, with nothing between them, each with a kernel of odd (rows, columns) and so many groups.

    Names are such as ``"3x3"``, ``"5x1+1x5"`` or ``"3x3 g2"``. ``"identity"`` passes its input on and ``"none"`` gives zeros, both without
    kernels.
    """

    name: str
    kernels: tuple[tuple[int, int], ...]
    groups: int = 1

    @classmethod
    def parse(cls, name: str) -> Operation:
        """The operation of a name; `ValueError` for a name that is none."""
        if name in {"identity", "none"}:
            return cls(name, ())
        series, _, group = name.partition(" ")
        matches = [_KERNEL.fullmatch(part) for part in series.split("+")]
        kernels = tuple((int(m[1]), int(m[2])) for m in matches if m)
        grouped = re.fullmatch(r"g([1-9]\d*)", group) if group else None
        odd = all(side % 2 for kernel in kernels for side in kernel)
        if len(kernels) != len(matches) or not odd or (group and grouped is None):
            raise ValueError(f"{name!r} is no operation; accepted are such as 3x3, 5x1+1x5, 3x3 g2, identity and none, with odd sides")
        return cls(name, kernels, int(grouped[1]) if grouped else 1)

    def fits(self, cin: int, cout: int) -> bool:
        """Whether it can lead from so many channels to so many."""
        if self.name == "identity":
            return cin == cout
        return cin % self.groups == 0 and cout % self.groups == 0

    def convolutions(self, cin: int, cout: int) -> list[tuple[int, int, tuple[int, int]]]:
        """(channels in, channels out, kernel) of each; the first goes to the channels out."""
        return [(cin if k == 0 else cout, cout, kernel) for k, kernel in enumerate(self.kernels)]

    def macs(self, cin: int, cout: int) -> int:
        """Multiplications of one pixel."""
        return sum(i * o * rows * columns // self.groups for i, o, (rows, columns) in self.convolutions(cin, cout))


def gain_of(kind: str, std: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Scale of a residual branch by the standard deviation of its input: ``w std + c`` (ADQ) or ``exp(w log std + c)`` (AdaDM)."""
    return slope * std + offset if kind == "adq" else (slope * std.clamp_min(1e-6).log() + offset).exp()
