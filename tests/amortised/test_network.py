"""The inference network of one and of several bands."""

from __future__ import annotations

import pytest
import torch

from imaging.amortised import InferenceNetwork, NetworkSettings
from imaging.amortised.features import IMAGES, MAPS
from tests.amortised.networks import tiny


def joint(bands: int = 3) -> InferenceNetwork:
    torch.manual_seed(5)
    network = InferenceNetwork(NetworkSettings(channels=bands, widths=(8, 8, 8), blocks=(1, 1, 1)))
    network.begin_from(tiny())
    return network.eval().requires_grad_(False)


def test_several_bands_begin_as_one_by_one() -> None:
    stack = torch.randn(2, 3, IMAGES + MAPS, 30, 41, generator=torch.Generator().manual_seed(0))
    change, spread = joint()(stack)
    assert change.shape == spread.shape == (2, 3, 30, 41)
    for k in range(3):
        alone = tiny()(stack[:, k : k + 1])
        torch.testing.assert_close(change[:, k : k + 1], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(spread[:, k : k + 1], alone[1], atol=1e-5, rtol=1e-5)


def test_bands_of_an_item_see_each_other_and_no_other_item() -> None:
    network = joint()
    for exchange in network.exchanges:
        torch.nn.init.normal_(exchange.second.weight, std=0.1)  # type: ignore[arg-type,union-attr]
    stack = torch.randn(2, 3, IMAGES + MAPS, 16, 16, generator=torch.Generator().manual_seed(0))
    other = stack.clone()
    other[0, 1] += 1
    before, after = network(stack)[0], network(other)[0]
    assert (before[0] != after[0]).flatten(1).any(1).all()
    assert torch.equal(before[1], after[1])


def test_orientations_are_averaged() -> None:
    """Of a scene that is turned over in one of the ways, the result is turned over."""
    network = tiny()
    stack = torch.randn(1, 1, IMAGES + MAPS, 32, 40, generator=torch.Generator().manual_seed(0))
    for orientations, axes in ((2, (-2, -1)), (4, (-1,)), (4, (-2,))):
        one, turned = network(stack, orientations), network(stack.flip(axes), orientations)
        for a, b in zip(one, turned, strict=True):
            torch.testing.assert_close(a, b.flip(axes), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(network(stack)[0], network(stack, 2)[0], atol=1e-5)
    twice = (network(stack)[0] + network(stack.flip((-2, -1)))[0].flip((-2, -1))) / 2
    torch.testing.assert_close(network(stack, 2)[0], twice, atol=1e-6, rtol=1e-5)


def test_a_start_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        InferenceNetwork(NetworkSettings(channels=2, widths=(8, 8, 16), blocks=(1, 1, 1))).begin_from(tiny())
