"""A network that was found: an operation and a bit width for each layer of a search space, as validated JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from imaging.errors import InputError
from imaging.superres.space import SearchSpace

SCHEMA = 1


@dataclass(frozen=True)
class Genotype:
    """An operation and a bit width for each layer.

    Attributes
    ----------
    space : SearchSpace
        Where it comes from.
    choice : dict
        By layer: (name of the operation, bits).

    Raises
    ------
    InputError
        Where a layer is missing, unknown, or has what it cannot have.
    """

    space: SearchSpace
    choice: Mapping[str, tuple[str, int]]

    def __post_init__(self) -> None:
        layers = {layer.name: layer for layer in self.space.layers()}
        for name in [*layers, *self.choice]:
            if name not in layers or name not in self.choice:
                state = "missing" if name in layers else "not in its space"
                raise InputError(f"the genotype does not fit: layer {name!r} is {state}; layers are {', '.join(layers)}")
        for name, layer in layers.items():
            operation, bits = self.choice[name]
            if operation not in layer.operations or bits not in layer.bits:
                raise InputError(
                    f"the genotype does not fit: layer {name!r} is {operation!r} with {bits!r} bits; "
                    f"accepted are {', '.join(layer.operations)} with {' or '.join(map(str, layer.bits))} bits"
                )

    @classmethod
    def random(cls, space: SearchSpace, seed: int) -> Genotype:
        """One drawn uniformly from a space."""
        drawn = random.Random(seed)
        return cls(space, {x.name: (drawn.choice(x.operations), drawn.choice(x.bits)) for x in space.layers()})

    def at(self, bits: int) -> Genotype:
        """The same operations, each with so many bits."""
        choice = {name: (operation, b if name == "head0" else bits) for name, (operation, b) in self.choice.items()}
        return Genotype(replace(self.space, bits=(bits,)), choice)

    def to_json(self) -> str:
        """As text."""
        layers = {name: {"operation": operation, "bits": bits} for name, (operation, bits) in self.choice.items()}
        return json.dumps({"schema": SCHEMA, "space": self.space.table(), "layers": layers}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """From text; `InputError` for text that is no genotype of this schema, or one that does not fit its space."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"a genotype must be JSON: {error}") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise InputError(f"this is no genotype of schema {SCHEMA}: expected an object with schema, space and layers")
        return cls(_space(value.get("space")), _choice(value.get("layers")))

    @classmethod
    def load(cls, path: Path) -> Genotype:
        """From a file; InputError where it cannot be read or is none."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a genotype") from error
        try:
            return cls.from_json(text)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def _space(table: Any) -> SearchSpace:
    known = {f.name for f in fields(SearchSpace)}
    if not isinstance(table, dict) or not set(table) <= known:
        raise InputError(f"the space of a genotype must be an object with keys out of {', '.join(sorted(known))}")
    operations = table.get("operations", {})
    if not isinstance(operations, dict) or not all(isinstance(v, list) for v in [*operations.values(), table.get("bits", [])]):
        raise InputError("the operations and bits of a genotype's space must be lists")
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    given["operations"] = {k: tuple(v) for k, v in operations.items()}
    return SearchSpace(**given)


def _choice(layers: Any) -> dict[str, tuple[str, int]]:
    if not isinstance(layers, dict) or not all(isinstance(v, dict) and set(v) == {"operation", "bits"} for v in layers.values()):
        raise InputError("the layers of a genotype must be objects with operation and bits")
    return {name: (v["operation"], v["bits"]) for name, v in layers.items()}
