"""The expected widths: curvature of the likelihood against the exact matrix, and independence of the tile."""

from __future__ import annotations

import deepinv
import pytest
import torch

from imaging.posterior.curvature import data_curvature
from imaging.posterior.measurement import Measurement
from imaging.sensors import SensorPhysics, SignalDependentNoise, load_profile, sensor_physics
from tests.posterior.models import LinearPrior, problem
from tests.priors.models import tiny


def seen_by(physics: deepinv.physics.Physics) -> list[Measurement]:
    """A measurement whose values play no part."""
    return [Measurement(torch.zeros(0), physics, None)]


def flat(value: float, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((count,), value), torch.ones(count, 1, 1, 1)


@pytest.mark.parametrize("known", [True, False])
def test_mean_curvature_is_the_trace_of_the_exact_matrix(known: bool) -> None:
    """Of a plain deepinv physics on a linear prior: the mean over positions of the diagonal of J^T A^T A J / sigma^2."""
    given = problem(known=known)
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))
    basis = torch.eye(3 * 8 * 8, dtype=torch.float64).reshape(-1, 3, 8, 8)
    seen = given.prior.decode(basis) / 0.7
    exact = (seen.square().sum((1, 2, 3)) / 0.1**2).reshape(3, 8, 8).mean((1, 2))
    level, scale = flat(0.3)
    found = data_curvature(given.prior, seen_by(physics), level.double(), 0.7 * scale.double(), torch.Size((1, 1, 16, 16)))
    assert found.shape == (1, 3, 1, 1)
    # Four probes of 64 positions each: the off-diagonal elements leave some percent.
    torch.testing.assert_close(found[0, :, 0, 0], exact, rtol=0.15, atol=0)


def test_curvature_of_a_sensor_depends_on_neither_the_tile_nor_the_batch() -> None:
    physics, prior = sensor_physics(load_profile("pleiades-raw").bands[:1], 4095.0), tiny()
    one = data_curvature(prior, seen_by(physics), *flat(0.3), torch.Size((1, 1, 64, 64)))
    many = data_curvature(prior, seen_by(physics), *flat(0.3, 3), torch.Size((3, 1, 96, 128)))
    assert torch.equal(many, one.expand(3, -1, -1, -1))
    mixed = data_curvature(
        prior, seen_by(physics), torch.tensor([0.3, 0.1]), torch.tensor([1.0, 0.5]).reshape(2, 1, 1, 1), torch.Size((2, 1, 64, 64))
    )
    torch.testing.assert_close(mixed[:1], one)
    # Low frequencies pass the blur, high ones do not; a smaller scale means larger steps in the scene.
    assert one[0, 0] > 5 * one[0, -1]
    assert (mixed[1] > mixed[0]).all()


def test_less_noise_sharpens_in_proportion() -> None:
    psf = torch.zeros(1, 1, 3, 3)
    psf[..., 1, 1] = 1
    prior = LinearPrior().float()

    def sensor(*sigma: float) -> SensorPhysics:
        return SensorPhysics(psf, SignalDependentNoise(torch.tensor(sigma)[:, None], torch.tensor([0.0])))

    found = [data_curvature(prior, seen_by(sensor(s)), *flat(0.3), torch.Size((1, 1, 32, 32))) for s in (0.1, 0.05)]
    torch.testing.assert_close(found[1], 4 * found[0])
    # Items with their own noise are told apart although their level and rate are the same.
    both = data_curvature(prior, seen_by(sensor(0.1, 0.05)), *flat(0.3, 2), torch.Size((2, 1, 32, 32)))
    torch.testing.assert_close(both, torch.cat(found))
