"""The variational autoencoder: its divergence, its bound and its linear part have closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from imaging.posterior import rate_scale
from imaging.priors.losses import rate_distortion
from imaging.priors.vae import VariationalAutoencoder
from tests.priors.models import enliven
from tests.scenes import smooth


def vae(channels: int = 1, *, trained: bool = True) -> VariationalAutoencoder:
    """A small one; with ``trained`` the corrections that start at zero are random."""
    torch.manual_seed(0)
    model = VariationalAutoencoder(channels, width=16, blocks=1, fine=8)
    model.set_statistics(scenes(channels))
    if trained:
        enliven(model)
    return model.eval().requires_grad_(False)


def scenes(channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(smooth(4 * channels, 128, 128).reshape(4, channels, 128, 128) / 4095).float()


def test_untrained_model_reconstructs_and_has_unit_latents() -> None:
    model, x = vae(trained=False), scenes()
    z, h = model.encode(x)
    assert h.numel() == 0
    torch.testing.assert_close(model.decode(z)[..., 8:-8, 8:-8], x[..., 8:-8, 8:-8], atol=1e-5, rtol=0)
    inner = z[..., 1:-1, 1:-1]
    assert float(inner.mean((0, 2, 3)).abs().max()) < 1e-3
    assert float(inner.var((0, 2, 3)).max()) <= 1.0 + 1e-3


def test_divergence_is_that_of_two_gaussians() -> None:
    model, x = vae(), scenes()
    mean, log_std = model._posterior(x)
    _, cost = model.perturb(x)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    )
    torch.testing.assert_close(cost, expected.sum((1, 2, 3)))
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(mean).sum((1, 2, 3))
    torch.testing.assert_close(model.log_prob(mean, mean[:, :0]), normal)


def test_latents_are_drawn_from_the_posterior() -> None:
    model, x = vae(), scenes()[:1]
    mean, log_std = model._posterior(x)
    torch.manual_seed(1)
    standard = torch.stack([(model.perturb(x)[0] - mean) / log_std.exp() for _ in range(50)])
    assert float(standard.mean()) == pytest.approx(0, abs=4 / math.sqrt(standard.numel()))
    assert float(standard.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / standard.numel()))


def test_objective_is_the_evidence_bound_in_bits_per_pixel() -> None:
    model, x = vae(2), scenes(2)
    torch.manual_seed(2)
    error, bits = rate_distortion(model, x)
    torch.manual_seed(2)
    z, cost = model.perturb(x)
    inner = (model.decode(z) - x)[..., 8:-8, 8:-8]
    likelihood = torch.distributions.Normal(torch.zeros(()), torch.tensor(model.gamma)).log_prob(inner).mean() * 2
    expected = (-likelihood + cost.sum() / (4 * 128 * 128)) / math.log(2)
    torch.testing.assert_close(model.objective(error, bits), expected)


def test_linear_part_and_its_variance() -> None:
    model, generator = vae(), torch.Generator().manual_seed(3)
    z = torch.randn(600, 64, 4, 4, generator=generator)
    exact = model.linear_variance(torch.ones(1, 64, 4, 4))
    torch.testing.assert_close(model.linear(z).var(0)[..., 8:-8, 8:-8], exact[0][..., 8:-8, 8:-8], rtol=0.35, atol=0)
    ratio = model.linear(z).var(0)[..., 8:-8, 8:-8] / exact[0][..., 8:-8, 8:-8]
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)


def test_rate_of_a_vae_is_not_modulated() -> None:
    assert rate_scale(vae(), 0.001, 0.5) == 1.0
