"""A posterior comes back from a file as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imaging.errors import InputError
from imaging.posterior import VBLE, FitSettings, LatentPosterior, PosteriorMixture, load_posterior, save_posterior
from tests.posterior.models import LinearPrior, problem


@pytest.mark.parametrize("settings", [{}, {"method": "vble", "family": "gaussian"}, {"method": "map"}])
def test_moments_and_samples_are_those_of_the_saved_one(settings: dict[str, str], tmp_path: Path) -> None:
    given = problem()
    model = VBLE(given.prior, FitSettings(iterations=3, **settings))  # type: ignore[arg-type]
    mixture = model.fit_mixture(given.y, given.physics, origins=[(8, 4)], seed=2)
    for saved in (mixture, mixture.parts[1]):
        save_posterior(saved, tmp_path / "posterior.safetensors")
        found = load_posterior(tmp_path / "posterior.safetensors", problem().prior)
        assert type(found) is type(saved)
        assert all(torch.equal(a, b) for a, b in zip(found.moments(4), saved.moments(4), strict=True))
        assert torch.equal(found.sample(3), saved.sample(3))
        assert torch.equal(found.objective, saved.objective)


def test_what_is_no_posterior_or_of_another_prior_is_refused(tmp_path: Path) -> None:
    given = problem()
    path = tmp_path / "posterior.safetensors"
    save_posterior(VBLE(given.prior, FitSettings(iterations=1)).fit(given.y, given.physics), path)
    with pytest.raises(InputError, match="of a prior with other weights, whose digest starts with"):
        load_posterior(path, LinearPrior(factor=2.0))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="cannot be read as a safetensors file"):
        load_posterior(path, given.prior)
    with pytest.raises(InputError, match="cannot be read as a safetensors file"):
        load_posterior(tmp_path / "missing", given.prior)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="holds no posterior"):
        load_posterior(path, given.prior)


def test_block_deviations_are_those_of_the_samples(tiny_prior: Path) -> None:
    from imaging.priors import load_prior
    from imaging.sensors import load_profile, sensor_physics

    physics = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0, 16)
    y = physics(0.3 + 0.05 * torch.randn(1, 1, 72, 80, generator=torch.Generator().manual_seed(0)), seed=1)
    model = VBLE(load_prior(str(tiny_prior)), FitSettings(iterations=3, calibrated=False))
    mixture = model.fit_mixture(y, physics, border=0)
    posteriors: list[LatentPosterior | PosteriorMixture] = [mixture, mixture.parts[0]]
    for posterior in posteriors:
        drawn = posterior.sample(400)
        for block in (3, 4):  # with and without a closed form
            means = torch.nn.functional.avg_pool2d(drawn[:, 0], block)[None]
            mean, std = posterior.moments(64, block)
            assert std.shape[-2:] == means.shape[-2:]
            torch.testing.assert_close(std.square().mean(), means.var(1).mean(), rtol=0.05, atol=0)
            torch.testing.assert_close(mean, torch.nn.functional.avg_pool2d(posterior.mean(64), block))
    levels = (0.05, 0.5, 0.95)
    found = mixture.quantiles(levels, 200)
    expected = torch.quantile(mixture.sample(200), torch.tensor(levels), dim=0)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r"quantile level 1\.5"):
        mixture.quantiles([1.5])
