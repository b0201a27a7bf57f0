"""Quantisers, the supernet and its search."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from imaging.errors import InputError
from imaging.superres import Genotype, Search, SearchSettings, SupernetSettings, derive, reported
from imaging.superres.cost import BitOps
from imaging.superres.handmade import at_bits, espcn
from imaging.superres.networks import range_of
from imaging.superres.operations import NORMALISATIONS
from imaging.superres.quantizers import LearnedStep, add_noise, cover, exactly_summed, full_scale_noise, hwgq, input_levels, rounded
from imaging.superres.search import entropy_weight
from imaging.superres.space import OPERATIONS
from imaging.superres.supernet import Supernet
from tests.superres.models import pairs, tiny_space


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_noise_has_the_deviation_of_quantisation_and_passes_gradients(bits: int) -> None:
    x = torch.rand(400_000, generator=torch.Generator().manual_seed(0)).mul(3).requires_grad_()
    torch.manual_seed(1)
    noise = (add_noise(x, torch.ones(1), (bits,)) - x).detach()
    step = float(x.detach().max() - x.detach().min()) / (2**bits - 1)
    assert float(noise.std()) == pytest.approx(step / math.sqrt(12), rel=0.02)
    assert abs(float(noise.mean())) < 0.01 * step
    real = ((x / step).round() * step - x).detach()  # what it stands for
    assert float(real.std()) == pytest.approx(step / math.sqrt(12), rel=0.02)
    add_noise(x, torch.ones(1), (bits,)).sum().backward()
    assert x.grad is not None
    assert bool((x.grad == 1).all())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_noise_of_activations_has_the_step_of_their_quantisers(bits: int) -> None:
    """Of those that a derived network starts with, whatever single values stand out."""
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(0)).relu()
    x[7] = 100.0
    plan = at_bits(espcn(1, 2), bits)
    quantiser = LearnedStep(plan.bits_of("first"), signed=False)
    cover(quantiser, range_of(x))
    torch.manual_seed(1)
    noise = add_noise(x, torch.ones(1), (bits,), full_scale_noise(x)) - x
    assert float(noise.std()) == pytest.approx(float(quantiser.step.detach()) / math.sqrt(12), rel=0.15)


def test_noise_of_a_mixture_is_that_of_its_bits_at_one_hot() -> None:
    x = torch.rand(1000)
    noise = full_scale_noise(x)
    for k, bits in enumerate((4, 8)):
        mixed = add_noise(x, torch.eye(2)[k], (4, 8), noise)
        torch.testing.assert_close(mixed, add_noise(x, torch.ones(1), (bits,), noise))


def test_learned_step_has_the_gradients_of_lsq() -> None:
    """Equations 3 of Esser et al.: inside the range the rounding's error, outside the range's end; rounding passes the rest."""
    quantiser = LearnedStep(4, signed=True)
    with torch.no_grad():
        quantiser.log_step.fill_(math.log(0.3))
    x = torch.tensor([0.2, -0.5, 5.0, -9.0], requires_grad=True)
    quantiser(x).sum().backward()
    inside = (x.detach() / 0.3).round() - x.detach() / 0.3
    by_hand = torch.tensor([inside[0], inside[1], 7.0, -8.0]).sum() * 0.3 / math.sqrt(4 * 7)  # of the logarithm of the step
    assert quantiser.log_step.grad is not None
    assert float(quantiser.log_step.grad) == pytest.approx(float(by_hand), rel=1e-5)
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 0, 0]


def test_sums_of_the_first_layer_are_exact_in_any_order() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(64, 3, 3, 3, generator=generator) / 5, torch.randn(64, generator=generator)
    kernels, offsets = exactly_summed(weight, bias)
    assert 0 < float((kernels - weight).abs().max()) <= 1 / 1024
    x = input_levels(2 * torch.rand(27, generator=generator))
    products = torch.cat([kernels.flatten(1) * x, offsets[:, None]], 1)
    exact = products.double().sum(1)
    for seed in range(20):
        order = torch.randperm(28, generator=torch.Generator().manual_seed(seed))
        total = torch.zeros(64)
        for k in order:
            total = total + products[:, k]
        assert torch.equal(total.double(), exact)


def test_direct_search_trains_its_steps() -> None:
    net = Supernet(tiny_space(), SupernetSettings(quantisation="direct"))
    names = [n for n, _ in net.named_parameters() if "log_step" in n]
    assert names
    assert set(names) <= set(net.state_dict())
    ours = {id(p) for p in net.weights()}
    assert all(id(p) in ours for n, p in net.named_parameters() if "log_step" in n)
    assert not any(id(a) in ours for a in net.alphas.parameters())
    net(torch.rand(1, 1, 12, 12)).sum().backward()
    used = [p.grad for n, p in net.named_parameters() if "of_weights" in n and "log_step" in n]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in used)


def test_hwgq_levels() -> None:
    x = torch.tensor([-1.0, 0.3, 0.4, 9.0])
    torch.testing.assert_close(hwgq(x, 2), torch.tensor([0.0, 0.0, 0.6356, 3 * 0.6356]))
    assert rounded(torch.tensor([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]  # half to even, as ONNX


def test_entropy_schedule_of_the_sheet() -> None:
    table = [entropy_weight(e, 20, 9) for e in range(9, 20)]
    assert table == pytest.approx([0, 0, 0.06, 0.14, 0.24, 0.35, 0.47, 0.59, 0.72, 0.86, 1], abs=0.006)
    assert [entropy_weight(e, 20, 0) for e in range(5)] == [0] * 5
    assert [entropy_weight(e, 20, 0) for e in (5, 6, 19)] == pytest.approx([0.07, 0.13, 1], abs=0.006)
    assert entropy_weight(3, 20, 9) == 0


@pytest.mark.parametrize(("kind", "normalisation"), [("basic", n) for n in NORMALISATIONS] + [("rfdn", "adq"), ("chain", "none")])
@pytest.mark.parametrize("quantisation", ["noise", "direct", "none"])
def test_supernet_runs_in_all_modes(kind: str, normalisation: str, quantisation: str) -> None:
    family = {"kind": "basic", "cells": 0, "head": 3} if kind == "chain" else {"kind": kind}
    space = tiny_space(**family, tail=1, bands=3)
    net = Supernet(space, SupernetSettings(quantisation=quantisation, normalisation=normalisation, activations="hwgq"))
    y = net(torch.rand(2, 3, 9, 7))
    assert y.shape == (2, 3, 18, 14)
    y.square().sum().backward()
    assert all(a.grad is not None for a in net.alphas.parameters())


def test_all_negative_alphas_derive_the_most_probable() -> None:
    net = Supernet(tiny_space())
    with torch.no_grad():
        for alpha in net.alphas.values():
            alpha.fill_(-3)
            alpha.view(-1)[-1] = -1
    for layer in net.space.layers():
        assert derive(net).choice[layer.name] == (layer.operations[-1], layer.bits[-1])


@pytest.mark.parametrize("kind", ["basic", "rfdn"])
def test_derived_within_a_limit_is_the_most_probable_of_all_that_cost_no_more(kind: str) -> None:
    """Against a look at every genotype of a space."""
    few = {"head": ("1x1", "3x3"), "body": ("1x1", "3x3"), "skip": ("1x1", "none"), "distil": ("1x1",), "upsample": ("3x3", "1x1")}
    space = tiny_space(
        kind=kind, operations={k: v for k, v in few.items() if k in OPERATIONS[kind]}, bits=(4, 8) if kind == "basic" else (4,)
    )
    net = Supernet(space)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for alpha in net.alphas.values():
            alpha.copy_(torch.randn(alpha.shape, generator=generator))
    layers, p = space.layers(), {k: v.detach() for k, v in net.probabilities().items()}
    every = []
    for taken in itertools.product(*([(o, b) for o in x.operations for b in x.bits] for x in layers)):
        genotype = Genotype(space, {x.name: c for x, c in zip(layers, taken, strict=True)})
        shares = [p[x.name][x.operations.index(o), x.bits.index(b)] for x, (o, b) in zip(layers, taken, strict=True)]
        every.append((math.prod(map(float, shares)), reported(genotype, BitOps()), genotype))
    costs = sorted(cost for _, cost, _ in every)
    for most in (costs[0], costs[len(costs) // 5], costs[len(costs) // 2], costs[-1]):
        wanted = max((e for e in every if e[1] <= most), key=lambda e: e[0])
        assert derive(net, most=most) == wanted[2]
    assert derive(net, most=costs[-1]) == derive(net)
    with pytest.raises(InputError, match="costs at most"):
        derive(net, most=costs[0] - 1)


def searched(**values: object) -> Search:
    """A short search."""
    given: dict[str, object] = {"epochs": 3, "steps": 4, "warmup": 1, "seed": 2, "border": 2}
    return Search(tiny_space(), SearchSettings(**(given | values)))  # type: ignore[arg-type]


def test_weights_and_alphas_have_steps_and_data_of_their_own() -> None:
    search = searched()
    alphas = {k: v.clone() for k, v in search.supernet.alphas.items()}
    search.step_weights(pairs())
    assert all(torch.equal(v, alphas[k]) for k, v in search.supernet.alphas.items())
    weights = [p.clone() for p in search.supernet.weights()]
    search.step_alphas(pairs())
    assert all(torch.equal(a, b) for a, b in zip(search.supernet.weights(), weights, strict=True))
    assert not any(torch.equal(v, alphas[k]) for k, v in search.supernet.alphas.items())


def test_where_the_loss_tells_nothing_the_cheapest_wins() -> None:
    cheap = searched(epochs=12, steps=6, warmup=0, penalty=10.0, entropy=0.0, alpha_rate=0.1)
    for _ in cheap.run(pairs(), pairs(seed=1)):
        pass
    costs = {x.name: min((cheap.cost.of(x, o, b, 2), o, b) for o in x.operations for b in x.bits)[1:] for x in cheap.space.layers()}
    assert dict(derive(cheap.supernet).choice) == costs


@pytest.mark.parametrize("role", ["head", "body", "upsample"])
@pytest.mark.parametrize("best", ["1x1", "3x3", "5x5"])
def test_planted_best_operation_is_found(role: str, best: str) -> None:
    """Truth is what one operation gives with the supernet's own weights; steps of alphas alone find it, whatever it costs."""
    fixed = {"head": ("3x3",), "body": ("3x3",), "skip": ("1x1",), "upsample": ("3x3",)}
    space = tiny_space(bits=(8,), body=1, operations=fixed | {role: ("1x1", "3x3", "5x5")})
    planted = Genotype(space, {x.name: (best if x.role == role else x.operations[0], 8) for x in space.layers()})
    settings = SearchSettings(alpha_rate=0.05, penalty=1e-4, border=3, seed=1)
    search = Search(space, settings, SupernetSettings(quantisation="none", normalisation="none"))
    data = pairs()
    drawn, net = data.draw, search.supernet

    def from_planted() -> tuple[torch.Tensor, torch.Tensor]:
        coarse, _ = drawn()
        kept = {k: a.detach().clone() for k, a in net.alphas.items()}
        with torch.no_grad():
            for layer in space.layers():
                net.alpha(layer.name).fill_(-50)
                net.alpha(layer.name)[layer.operations.index(planted.choice[layer.name][0])] = 50
            truth = net(coarse)
            for k, a in kept.items():
                net.alphas[k].copy_(a)
        return coarse, truth

    data.draw = from_planted  # type: ignore[method-assign]
    for _ in range(60):
        search.step_alphas(data)
    assert derive(net) == planted


def test_search_resumes_where_it_was() -> None:
    whole, halves = searched(), searched()
    torch.manual_seed(0)
    list(whole.run(pairs(seed=3), pairs(seed=4)))
    first, second = pairs(seed=3), pairs(seed=4)
    torch.manual_seed(0)
    run = halves.run(first, second)
    next(run)
    state, noise = halves.state_dict(), torch.get_rng_state()
    other = searched()
    other.load_state_dict(state)
    torch.set_rng_state(noise)
    list(other.run(first, second))
    assert other.epoch == 3
    assert other.history == whole.history


def test_cost_in_the_history_is_that_of_the_derived_genotype() -> None:
    search = searched(penalty=0.5)
    *_, last = search.run(pairs(), pairs(seed=1))
    assert last["cost"] == reported(derive(search.supernet), BitOps())
    assert replace(search.settings, penalty=0).penalty == 0


def test_direct_quantisation_covers_what_the_first_batch_shows() -> None:
    net = Supernet(tiny_space(tail=1), SupernetSettings(quantisation="direct", normalisation="none"))
    candidate = net.layers[net.index["tail0"]][0].candidates[1]  # type: ignore[index]
    x = torch.linspace(-1, 2, 64).view(1, 1, 8, 8)
    with torch.no_grad():
        found = candidate(x, torch.tensor([0.0, 1.0]), None)
        weight = candidate.of_weights[0][1](candidate.weights[0]).detach()
    torch.testing.assert_close(found, weight * x, atol=0.01 * float(weight.abs()), rtol=0)
    state = net.state_dict()
    other = Supernet(tiny_space(tail=1), SupernetSettings(quantisation="direct", normalisation="none"))
    other.load_state_dict(state)
    again = other.layers[other.index["tail0"]][0].candidates[1](10 * x, torch.tensor([0.0, 1.0]), None)  # type: ignore[index]
    assert float((again.detach() / weight).abs().max()) < 2.1  # its steps are kept
