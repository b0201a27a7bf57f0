"""Training of a decoder of deviations on what posteriors leave: errors of a known variance, and no more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imaging.posterior import VBLE, FitSettings, LatentPosterior
from imaging.posterior.families import Gaussian
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.sensors import load_profile, sensor_physics
from scripts.train import deviation as script


@pytest.fixture
def posterior() -> LatentPosterior:
    torch.manual_seed(0)
    prior = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    prior.set_statistics(torch.rand(4, 1, 64, 64))
    profile = load_profile("pleiades-raw")
    physics = sensor_physics(profile.bands[:1], profile.full_scale, 14)
    y = physics(torch.full((2, 1, 60, 60), 0.3), seed=0)
    prior.requires_grad_(False)
    return VBLE(prior, FitSettings(iterations=2, calibrated=False)).fit(y, physics, border=0)


def left(posterior: LatentPosterior, image_variance: float, explained: float, inside: int = 16, seed: int = 3) -> script.Leftover:
    """Errors of the variance that is explained plus that of a constant image-space part, nothing measured."""
    height, width = (n - 2 * inside for n in posterior.sample(1).shape[-2:])
    known = torch.full((2, 1, height, width), explained)
    error = (known + image_variance).sqrt() * torch.randn(known.shape, generator=torch.Generator().manual_seed(seed))
    free = replace(posterior, information=torch.zeros_like(posterior.information))  # type: ignore[arg-type]
    return script.Leftover((free,), error, known, inside)


@pytest.mark.parametrize("image_variance", [0.0, 0.01])
def test_the_decoder_learns_the_variance_that_is_missing(posterior, image_variance: float) -> None:
    found = [left(posterior, image_variance, 0.004, seed=k) for k in range(9)]  # as many draws of the errors; the last is kept
    *own, new = found
    list(posterior.prior.std_decoder.parameters())[-1].fill_(-1.0 if image_variance == 0 else -5.0)  # type: ignore[union-attr]
    before = float(script.loss(posterior.prior, new, torch.Generator().manual_seed(1)))
    script.trained(posterior.prior, own, 120, 0.01)
    after = float(script.loss(posterior.prior, new, torch.Generator().manual_seed(1)))
    variance = new.explained + image_variance
    away = new.error.abs() / variance.sqrt()
    tails = torch.where(away <= script.TAIL, away.square() / 2, script.TAIL * away - script.TAIL**2 / 2)
    least = float((tails + variance.log() / 2).mean())
    assert after - least == pytest.approx(0, abs=0.06)
    assert before - least > 0.3


def test_only_the_decoder_of_deviations_changes(posterior) -> None:
    prior = posterior.prior
    before = {k: v.clone() for k, v in prior.state_dict().items()}
    script.trained(prior, [left(posterior, 0.01, 0.004)] * 2, 3, 0.01)
    changed = {k for k, v in prior.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith("std_decoder") for k in changed)


def test_a_kept_fit_is_the_same(posterior, tmp_path) -> None:
    found = left(posterior, 0.01, 0.004)
    found.save(tmp_path / "fit.pt")
    again = script.Leftover.load(tmp_path / "fit.pt", posterior.prior)
    losses = [float(script.loss(posterior.prior, f, torch.Generator().manual_seed(1))) for f in (found, again)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


def test_no_draw_of_a_gaussian_latent_is_infinite(posterior, monkeypatch) -> None:
    family = Gaussian(posterior.family.centre, posterior.family.log_width)
    found = left(replace(posterior, family=family), 0.01, 0.004)
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.zeros(shape))
    assert torch.isfinite(script.loss(posterior.prior, found, torch.Generator()))
