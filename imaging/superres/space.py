"""Search spaces: which layers a network has and what each may become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from imaging.errors import InputError
from imaging.superres.operations import Operation

OPERATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "basic": {
        "head": ("3x3", "5x5", "3x1+1x3", "1x1"),
        "body": ("3x3", "5x5", "3x1+1x3", "5x1+1x5"),
        "skip": ("1x1", "3x3", "5x5", "none"),
        "upsample": ("1x1", "3x3", "5x5", "3x1+1x3"),
        "tail": ("identity", "1x1", "3x3", "5x5"),
    },
    "rfdn": {
        "body": ("1x1", "3x3", "5x5", "1x1+1x1", "3x3+3x3", "1x1 g2", "3x3 g2", "5x5 g2"),
        "distil": ("1x1", "3x3", "5x5", "1x1+1x1", "3x3+3x3", "1x1 g2", "3x3 g2", "5x5 g2"),
        "upsample": ("1x1", "3x3", "5x5", "1x1+1x1", "3x3+3x3", "1x1 g2", "3x3 g2", "5x5 g2"),
        "tail": ("identity", "1x1", "3x3", "5x5"),
    },
}
"""Operations of each role in each space, when none are given."""


@dataclass(frozen=True)
class Layer:
    """A searchable layer with channels in and out; it may have any of its operations, which its ``role`` decides, and of its bit widths.

    ``repeats`` is how often it occurs, for layers that cells share; ``fine`` ones work on the fine grid.
    """

    name: str
    role: str
    cin: int
    cout: int
    operations: tuple[str, ...]
    bits: tuple[int, ...]
    repeats: int = 1
    fine: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A family of super-resolution networks.

    ``basic`` is a head, cells that share their operations (convolutions in series beside a skip convolution and the identity), an
    upsampling convolution and a tail on the fine grid; without cells it is a chain of convolutions, each with an operation of its own.
    ``rfdn`` is cells of distillation, each with operations of its own.

    Attributes
    ----------
    kind : str
        ``"basic"`` or ``"rfdn"``.
    bands, scale : int
        Bands of the image, and factor of super-resolution.
    channels : int
        Width; multiples of 16 run best.
    cells, head, body, tail : int
        Cells (0 in a chain), convolutions of the head, of a cell's series, and of the tail. ``rfdn`` has no head and three in a cell.
    bits : tuple of int
        Bit widths that weights and activations of a layer may have.
    operations : dict
        Names of operations by role; roles not given have those of `OPERATIONS`.
    """

    kind: str = "basic"
    bands: int = 3
    scale: int = 4
    channels: int = 32
    cells: int = 3
    head: int = 2
    body: int = 2
    tail: int = 0
    bits: tuple[int, ...] = (4, 8)
    operations: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPERATIONS:
            raise InputError(f"the search space is {self.kind!r}; accepted are {', '.join(OPERATIONS)}")
        cells = 0 if self.kind == "basic" else 1
        limits = {"bands": (1, 64), "channels": (2, 1024), "cells": (cells, 64), "head": (1, 16), "body": (1, 16), "tail": (0, 8)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InputError(f"{name} is {value!r}; accepted are whole numbers from {least} to {most}")
        if self.scale not in {2, 3, 4}:
            raise InputError(f"scale is {self.scale!r}; accepted are 2, 3 and 4")
        if (
            not isinstance(self.bits, tuple)
            or not self.bits
            or any(not isinstance(b, int) or not 2 <= b <= 8 for b in self.bits)
            or len(set(self.bits)) != len(self.bits)
        ):
            raise InputError(f"bits are {self.bits!r}; accepted are different whole numbers from 2 to 8")
        if unknown := sorted(set(self.operations) - set(OPERATIONS[self.kind])):
            raise InputError(f"{unknown[0]!r} is no role of the {self.kind} space; its roles are {', '.join(OPERATIONS[self.kind])}")
        for role, names in self.operations.items():
            if not isinstance(names, tuple) or not names or not all(isinstance(n, str) for n in names):
                raise InputError(f"operations of the role {role} are {names!r}; accepted are names, one or more")
        for layer in self.layers():
            for name in layer.operations:
                self._check(layer, name)

    @staticmethod
    def _check(layer: Layer, name: str) -> None:
        try:
            operation = Operation.parse(name)
        except ValueError as error:
            raise InputError(str(error)) from error
        if (operation.name == "none" and layer.role != "skip") or (operation.name == "identity" and layer.role != "tail"):
            raise InputError(f"{name} is for the role {'skip' if name == 'none' else 'tail'} alone, not for layer {layer.name}")
        if not operation.fits(layer.cin, layer.cout):
            raise InputError(f"{name} does not lead from {layer.cin} to {layer.cout} channels, in layer {layer.name}")

    def choices(self, role: str) -> tuple[str, ...]:
        """Operations of a role."""
        return tuple(self.operations.get(role, OPERATIONS[self.kind][role]))

    def layers(self) -> list[Layer]:
        """The searchable layers, in the order of the data."""
        return list(self._basic() if self.kind == "basic" else self._rfdn())

    def fixed(self) -> list[Layer]:
        """Layers that are not searched; each has one operation and 8 bits."""
        if self.kind == "basic":
            return []
        c = self.channels
        fusions = [Layer(f"cell{k}.fuse", "fuse", 4 * (c // 2), c, ("1x1",), (8,)) for k in range(self.cells)]
        ends = [Layer("collect", "fuse", self.cells * c, c, ("1x1",), (8,)), Layer("smooth", "fuse", c, c, ("3x3",), (8,))]
        return [Layer("first", "fuse", self.bands, c, ("3x3",), (8,)), *fusions, *ends]

    def _ends(self) -> Iterator[Layer]:
        yield Layer("upsample", "upsample", self.channels, self.bands * self.scale**2, self.choices("upsample"), self.bits)
        for k in range(self.tail):
            yield Layer(f"tail{k}", "tail", self.bands, self.bands, self.choices("tail"), self.bits, fine=True)

    def _basic(self) -> Iterator[Layer]:
        c = self.channels
        for k in range(self.head):
            bits = (8,) if k == 0 else self.bits  # the first one runs in float
            yield Layer(f"head{k}", "head", c if k else self.bands, c, self.choices("head"), bits)
        if self.cells:
            for k in range(self.body):
                yield Layer(f"body{k}", "body", c, c, self.choices("body"), self.bits, self.cells)
            yield Layer("skip", "skip", c, c, self.choices("skip"), self.bits, self.cells)
        yield from self._ends()

    def _rfdn(self) -> Iterator[Layer]:
        c = self.channels
        for cell in range(self.cells):
            for k in range(3):
                yield Layer(f"cell{cell}.distil{k}", "distil", c, c // 2, self.choices("distil"), self.bits)
                yield Layer(f"cell{cell}.body{k}", "body", c, c, self.choices("body"), self.bits)
            yield Layer(f"cell{cell}.last", "body", c, c // 2, self.choices("body"), self.bits)
        yield from self._ends()

    def table(self) -> dict[str, Any]:
        """Its settings as plain values, for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
