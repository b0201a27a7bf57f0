"""Training from a released model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.zoo import start_from
from tests.scenes import smooth

SIZES = {"width": 16, "blocks": 1, "fine": 8, "fine_blocks": 1, "hyper": 8, "hidden": 16}


def test_a_longer_model_starts_as_the_released_one(tiny_prior: Path) -> None:
    model = LappedAutoencoder(**SIZES, context_blocks=2).eval()
    fresh = start_from(model, tiny_prior)
    assert fresh
    assert all(name.startswith("refining.") for name in fresh)
    released, model = load_prior(str(tiny_prior)).double(), model.double()
    x = torch.from_numpy(smooth(1, 64, 64)[:, None] / 4095)
    with torch.no_grad():
        z, h = released.encode(x)
        for ours, theirs in (
            (model.encode(x).z, z),
            (model.decode(z), released.decode(z)),
            (model.log_prob(z, h), released.log_prob(z, h)),
        ):
            assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_wider_model_starts_as_the_released_one_and_can_learn_more(tiny_prior: Path) -> None:
    torch.manual_seed(1)
    model = LappedAutoencoder(**SIZES | {"width": 24, "fine": 12}).eval()
    fresh = start_from(model, tiny_prior)
    assert "decoder.0.weight" in fresh
    assert "context.weight" not in fresh
    released, model = load_prior(str(tiny_prior)).double(), model.double()
    x = torch.from_numpy(smooth(1, 64, 64)[:, None] / 4095)
    z, _ = released.encode(x)
    with torch.no_grad():
        for ours, theirs in ((model.decode(z), released.decode(z)), (model.decode_std(z), released.decode_std(z)), (model.encode(x).z, z)):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    # What is new is not dead: the last layer's weights on new channels have a gradient.
    (model.decode(z) - x).square().sum().backward()
    last = [m for m in model.decoder if isinstance(m, torch.nn.Conv2d)][-1]
    assert last.weight.grad[:, 8:].abs().max() > 0


def test_a_model_of_another_shape_does_not_start(tiny_prior: Path) -> None:
    before = LappedAutoencoder(**SIZES | {"width": 12})
    weights = {k: v.clone() for k, v in before.state_dict().items()}
    with pytest.raises(InputError, match=r"its weight \S+ does not fit the recipe's \[model\]"):
        start_from(before, tiny_prior)
    assert all(torch.equal(v, weights[k]) for k, v in before.state_dict().items())
