"""Scenes drawn from a prior have the density that the prior says they have."""

from __future__ import annotations

import math

import pytest
import torch

from imaging.priors import sampling
from imaging.priors.factorized import FactorizedDensity
from imaging.priors.families import make_prior
from imaging.priors.rate import log_bottleneck
from tests.priors.models import tiny


def test_draws_of_a_bottleneck_follow_its_density() -> None:
    torch.manual_seed(0)
    bottleneck = FactorizedDensity(3)
    with torch.no_grad():
        for parameter in bottleneck.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        draws = sampling._draw_bottleneck(bottleneck, 40_000)
        for low, high in ((-30.0, -5.0), (-5.0, 1.0), (1.0, 8.0)):
            grid = torch.linspace(low, high, 2001)
            density = log_bottleneck(bottleneck, grid.expand(1, 3, 1, -1).contiguous())[0, :, 0].exp()
            expected = torch.trapezoid(density, grid)
            found = ((draws > low) & (draws < high)).float().mean(1)
            torch.testing.assert_close(found, expected, atol=4 * 0.5 / math.sqrt(40_000), rtol=0)


def test_sequential_draws_have_the_conditional_densities() -> None:
    """Each latent, standardised by what the finished latents before it predict, has the variance of a Gaussian plus a uniform."""
    model = tiny(seed=3)
    caught = []
    original = model.decode
    model.decode = lambda z: caught.append(z) or original(z)  # type: ignore[method-assign]
    image = sampling.sample_prior(model, 64, seed=5)
    assert image.shape == (1, 1, 64, 64)
    z = caught[0]
    torch.manual_seed(5)
    h = sampling._draw_bottleneck(model.bottleneck, 4).reshape(1, 8, 2, 2)
    mean, scale = model.conditional(z, h)
    standard = (z - mean) / torch.sqrt(scale.square() + 1 / 12)
    count = z.numel()
    assert float(standard.mean()) == pytest.approx(0, abs=4 / math.sqrt(count))
    assert float(standard.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))


@pytest.mark.parametrize("family", ["mean-scale", "mbt", "factorized", "vae"])
def test_each_family_draws_scenes_smoke(family: str) -> None:
    if family != "vae":
        pytest.importorskip("compressai")
    sizes = {"width": 16, "blocks": 1, "fine": 8} if family == "vae" else {"hidden": 8, "latents": 12}
    model = make_prior(family, sizes).eval()
    drawn = sampling.sample_prior(model, 128, seed=1)
    assert drawn.shape == (1, model.channels, 128, 128)
    assert drawn.isfinite().all()
    assert torch.equal(drawn, sampling.sample_prior(model, 128, seed=1))
    assert not torch.equal(drawn, sampling.sample_prior(model, 128, seed=2))
