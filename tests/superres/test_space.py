"""Operations, spaces, genotypes and their cost."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from imaging.errors import InputError
from imaging.superres import BitOps, Genotype, LatencyTable, SearchSpace, blueprint, reported
from imaging.superres.cost import choices, constant, expected
from imaging.superres.handmade import HANDMADE, at_bits, distillation, espcn, fsrcnn
from imaging.superres.operations import Operation
from imaging.superres.units import deconvolution_mask
from tests.superres.models import tiny_space


def test_operations_are_convolutions_in_series() -> None:
    assert Operation.parse("5x1+1x5").convolutions(3, 8) == [(3, 8, (5, 1)), (8, 8, (1, 5))]
    assert Operation.parse("3x3 g2").macs(8, 8) == 8 * 8 * 9 // 2
    assert Operation.parse("identity").fits(3, 3)
    assert not Operation.parse("identity").fits(3, 4)
    assert Operation.parse("none").macs(3, 4) == 0


@pytest.mark.parametrize("name", ["", "3", "3x2", "3x3+", "3x3 g0", "3x3 x2", "__import__('os')"])
def test_what_is_no_operation_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no operation"):
        Operation.parse(name)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "ring"}, "basic, rfdn"),
        ({"scale": 5}, "2, 3 and 4"),
        ({"bits": (4, 16)}, "from 2 to 8"),
        ({"bits": ()}, "from 2 to 8"),
        ({"channels": 0}, "from 2 to 1024"),
        ({"operations": {"middle": ("3x3",)}}, "no role"),
        ({"operations": {"body": ("3x4",)}}, "no operation"),
        ({"operations": {"body": ("3x3 g3",)}}, "does not lead from 8 to 8"),
        ({"operations": {"upsample": ("identity",)}}, "for the role tail alone"),
        ({"operations": {"body": ("none",)}}, "for the role skip alone"),
        ({"operations": {"skip": ()}}, "one or more"),
        ({"bits": 8}, "from 2 to 8"),
        ({"cells": -1}, "from 0 to 64"),
        ({"cells": 0, "kind": "rfdn"}, "from 1 to 64"),
    ],
)
def test_bad_space_is_refused_in_one_sentence(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tiny_space(**values)


def test_without_cells_the_network_is_a_chain() -> None:
    space = SearchSpace(channels=16, cells=0, head=3)
    assert [layer.name for layer in space.layers()] == ["head0", "head1", "head2", "upsample"]
    plan = blueprint(Genotype(space, {"head0": ("3x3", 8), "head1": ("5x5", 4), "head2": ("3x3", 8), "upsample": ("1x1", 4)}))
    assert [n.kind for n in plan.nodes] == ["conv"] * 4
    assert all(n.inputs == (before.name,) for before, n in itertools.pairwise(plan.nodes))
    assert plan.macs() == 16 * (9 * 3 + 25 * 16 + 9 * 16 + 48)
    assert [plan.bits_of(n.name) for n in plan.nodes] == [4, 8, 4, 8]


@pytest.mark.parametrize(("kind", "cells"), [("basic", 2), ("basic", 0), ("rfdn", 2)])
def test_genotype_survives_json(kind: str, cells: int) -> None:
    genotype = Genotype.random(SearchSpace(kind=kind, channels=16, cells=cells, tail=1), 3)
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert {bits for name, (_, bits) in genotype.at(8).choice.items()} == {8}


def test_bad_genotype_is_refused_in_one_sentence() -> None:
    good = json.loads(Genotype.random(tiny_space(), 0).to_json())

    def said(**changes: object) -> str:
        with pytest.raises(InputError) as caught:
            Genotype.from_json(json.dumps(good | changes))
        return str(caught.value)

    layers = good["layers"]
    assert "schema 1" in said(schema=2)
    assert "missing" in said(layers={k: v for k, v in layers.items() if k != "skip"})
    assert "not in its space" in said(layers=layers | {"neck": {"operation": "3x3", "bits": 8}})
    assert "accepted are" in said(layers=layers | {"skip": {"operation": "9x9", "bits": 8}})
    assert "accepted are" in said(layers=layers | {"skip": {"operation": "1x1", "bits": 3}})
    assert "operation and bits" in said(layers={"skip": "1x1"})
    assert "keys out of" in said(space={"colour": 3})
    assert "must be lists" in said(space=good["space"] | {"operations": {"body": "3x3"}})
    with pytest.raises(InputError, match="must be JSON"):
        Genotype.from_json("{")


def test_macs_counted_by_hand() -> None:
    # 5x5 from 3 to 64, 3x3 from 64 to 32, 3x3 from 32 to 3 * 16: the sheet's 37 056 is x4 of three bands; x3 has 27 instead of 48 channels.
    assert espcn(3, 4).macs() == 25 * 3 * 64 + 9 * 64 * 32 + 9 * 32 * 48 == 37_056
    assert espcn(3, 3).macs() == 25 * 3 * 64 + 9 * 64 * 32 + 9 * 32 * 27 == 31_008
    # A deconvolution of 9 x 9 multiplies each coarse pixel with 81 taps for each pair of channels.
    assert fsrcnn(3, 4).macs() == 25 * 3 * 56 + 56 * 12 + 4 * 9 * 12 * 12 + 12 * 56 + 81 * 56 * 3
    assert at_bits(espcn(3, 4), 4).bitops() == 64 * 25 * 3 * 64 + 16 * (9 * 64 * 32 + 9 * 32 * 48)
    assert sorted(HANDMADE) == ["espcn", "fsrcnn", "rfdn-like", "span-like"]
    assert distillation(3, 2).macs() < distillation(3, 4).macs()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_deconvolution_has_81_taps(scale: int) -> None:
    side = 2 * ((9 // 2 + scale - 1) // scale) + 1
    mask = deconvolution_mask(side, scale)
    assert mask.shape == (scale**2, 1, side, side)
    assert int(mask.sum()) == 81


@pytest.mark.parametrize(("kind", "cells"), [("basic", 2), ("basic", 0), ("rfdn", 2)])
@pytest.mark.parametrize("seed", range(4))
def test_penalty_equals_report_and_network_at_one_hot(kind: str, cells: int, seed: int) -> None:
    space = SearchSpace(kind=kind, channels=16, cells=cells, tail=1)
    genotype = Genotype.random(space, seed)
    one_hot = {}
    for layer in space.layers():
        p = torch.zeros(len(layer.operations), len(layer.bits))
        operation, bits = genotype.choice[layer.name]
        p[layer.operations.index(operation), layer.bits.index(bits)] = 1
        one_hot[layer.name] = p
    for cost in (BitOps(), full_table(space)):
        assert float(expected(one_hot, choices(space, cost), constant(space, cost))) == pytest.approx(reported(genotype, cost), rel=1e-12)
    plan = blueprint(genotype)
    assert plan.bitops() == reported(genotype, BitOps())
    assert plan.macs() == reported(genotype.at(8), BitOps()) / 64


def full_table(space: SearchSpace) -> LatencyTable:
    """A latency table with a time of its own for each operation."""
    names = dict.fromkeys(LatencyTable.key(x.cin, x.cout, o) for x in [*space.layers(), *space.fixed()] for o in x.operations)
    return LatencyTable({name: 1.5 + k for k, name in enumerate(names)})


def test_latency_table_survives_json_and_says_what_it_lacks(tmp_path: pytest.TempPathFactory) -> None:
    space, path = tiny_space(), tmp_path / "latency.json"  # type: ignore[operator]
    full_table(space).save(path)
    table = LatencyTable.load(path)
    assert table == full_table(space)
    with pytest.raises(InputError, match="measure it again"):
        reported(Genotype.random(tiny_space(channels=12), 0), table)
    path.write_text("[]")
    with pytest.raises(InputError, match="no latency table"):
        LatencyTable.load(path)
