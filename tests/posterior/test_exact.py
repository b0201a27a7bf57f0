"""Fits of a linear Gaussian model against its exact posterior."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from imaging.posterior import VBLE, FitSettings, LatentPosterior
from imaging.posterior.families import Gaussian
from tests.posterior.models import LinearPrior, Problem, binomial, problem


def fit(given: Problem, method: str, iterations: int = 1500, **settings: float) -> LatentPosterior:
    chosen = FitSettings(method=method, iterations=iterations, learning_rate=0.1, **settings)  # type: ignore[arg-type]
    return VBLE(given.prior, chosen).fit(given.y, given.physics, mask=given.mask, rate_scale=1.0)


@pytest.mark.parametrize("masked", [False, True])
def test_map_is_the_exact_posterior_mean(masked: bool) -> None:
    given = problem(masked=masked)
    posterior = fit(given, "map", 800)
    mean, _ = given.exact(posterior)
    assert torch.allclose(posterior.family.centre.flatten(), mean, atol=2e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_vble_finds_the_exact_mean_and_the_optimal_widths(masked: bool) -> None:
    given = problem(masked=masked)
    posterior = fit(given, "vble", 6000)  # draws come in pairs: 3000 independent ones
    mean, precision = given.exact(posterior)
    deviation = precision.diagonal().rsqrt()
    difference = (posterior.family.centre.flatten() - mean) / deviation
    assert difference.abs().max() < 0.02
    assert difference.square().mean().sqrt() < 0.006
    # Of the objective Lambda_kk a^2 / 24 - log a of each latent the minimum is a^2 = 12 / Lambda_kk.
    ratio = posterior.family.variance().flatten() * precision.diagonal()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float(ratio.std()) < 0.12
    assert precision.diagonal().max() > 3 * precision.diagonal().min()  # else the widths could be right by chance


def test_gaussian_family_finds_the_exact_mean_and_the_mean_field_deviations() -> None:
    """Of independent Gaussian densities the optimum has the variances 1 / Lambda_kk, Lambda the exact precision."""
    given = problem()
    given.prior.density = "gaussian"
    posterior = fit(given, "vble", 6000)
    assert isinstance(posterior.family, Gaussian)
    mean, precision = given.exact(posterior)
    difference = (posterior.family.centre.flatten() - mean) * precision.diagonal().sqrt()
    assert difference.abs().max() < 0.2
    assert difference.square().mean().sqrt() < 0.06
    ratio = posterior.family.variance().flatten() * precision.diagonal()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float(ratio.std()) < 0.12
    # Its entropy is that of the textbook, and what is drawn has its moments.
    expected = torch.distributions.Normal(posterior.family.centre, posterior.family.variance().sqrt()).entropy().sum()
    assert float(posterior.family.entropy()) == pytest.approx(float(expected), rel=1e-9)
    draws = torch.stack([posterior._latent_draw(k) for k in range(4000)])
    assert torch.allclose(draws.mean(0), posterior.family.centre, atol=1e-9)  # in mirrored pairs
    assert torch.allclose(draws.var(0) / posterior.family.variance(), torch.ones(()).double(), atol=0.13)
    assert float((draws.var(0) / posterior.family.variance()).mean()) == pytest.approx(1, abs=0.01)


def test_objective_is_minus_the_evidence_bound_per_scene_pixel() -> None:
    given = problem()
    posterior = fit(given, "vble")
    mean, precision = given.exact(posterior)
    seen = given.matrix(posterior)
    covariance = seen @ seen.T + given.sigma**2 * torch.eye(len(seen), dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(len(seen), dtype=torch.float64), covariance).log_prob(given.y.flatten())
    residual = given.y.flatten() - seen @ mean
    best = (residual.square() / (2 * given.sigma**2)).sum() + len(residual) * (math.log(given.sigma) + math.log(2 * math.pi) / 2)
    best = best + mean.square().sum() / 2 + len(mean) * math.log(2 * math.pi) / 2
    best = best + len(mean) / 2 - 0.5 * (12 / precision.diagonal()).log().sum()
    hyper = (posterior.family.centre.shape[-1] // 2) * (posterior.family.centre.shape[-2] // 2)
    best = best + hyper * (0.5 + math.log(2 * math.pi) / 2 - math.log(12) / 2)  # KL of the widest useful uniform to the normal
    pixels = 15 * 13
    assert best > -evidence
    found = float(posterior.objective[-150:].mean()) * pixels
    # Above the optimum by what the steps leave, about 2 nats; a draw of the objective deviates by some 10, so their mean by 1.
    assert float(best) - 3 < found < float(best) + 6


def test_rate_scale_is_a_scaling_of_the_decoder() -> None:
    given = problem()
    settings = FitSettings(method="vble-xz", iterations=20)
    scaled = VBLE(LinearPrior(factor=1.0), settings).fit(given.y, given.physics, rate_scale=0.4)
    direct = VBLE(LinearPrior(factor=2.5), settings).fit(given.y, given.physics, rate_scale=1.0)
    assert torch.allclose(scaled.family.centre, direct.family.centre, atol=1e-9)
    for a, b in zip(scaled.moments(8), direct.moments(8), strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("method", ["vble", "vble-xz", "map"])
def test_moments_are_those_of_the_fitted_density(method: str, known: bool) -> None:
    given = problem(known=known)
    posterior = fit(given, method, 60)
    moments = posterior.moments(3000 if not known else 4)
    centre, weight = posterior.family.centre, given.prior.weight
    assert torch.allclose(moments.mean, posterior.frame.crop(given.prior.decode(centre)).float(), atol=1e-6)
    columns = posterior.frame.crop(given.prior.decode(torch.eye(centre[0].numel(), dtype=weight.dtype).reshape(-1, *centre.shape[1:])))
    variance = (columns.square() * posterior.family.variance().reshape(-1, 1, 1, 1)).sum(0, keepdim=True)
    variance = variance if known else binomial(variance)
    if method != "vble":
        # N(x; g(z), 0.1^2) seen through the measurement: precision of the decoder plus that of the data.
        information = given.physics.information(torch.full_like(given.y, 1 / given.sigma**2))
        variance = variance + 1 / (1 / 0.1**2 + information)
    # Without the linear part 1500 pairs: the relative error of a deviation is about 1 / sqrt(2 * 1500), 1.8 %.
    assert torch.allclose(moments.std, variance.sqrt().float(), rtol=1e-5 if known or method == "map" else 0.08)
    assert float((moments.std / variance.sqrt()).mean()) == pytest.approx(1, abs=1e-5 if known or method == "map" else 0.005)


def test_variance_from_few_pairs_is_unbiased() -> None:
    given = problem()
    posterior = fit(given, "vble", 60)
    exact = binomial(fit(problem(known=True), "vble", 60).moments(2).std.square())
    found = []
    for seed in range(300):
        other = LatentPosterior(**(vars(posterior) | {"seed": seed}))
        found.append(other.moments(4).std.square())
    # Counting mirrored samples as independent would give a third too much.
    assert float((torch.stack(found).mean(0) / exact).mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_image_factor_minimises_the_objective(weight: float) -> None:
    posterior = fit(problem(masked=True), "vble-xz", 5, weight=weight)
    information = posterior.information
    assert information is not None
    deviation = torch.full_like(information, 0.1)
    grid = torch.linspace(0.02, 1.2, 23_601, dtype=torch.float64)
    found = posterior.image_factor(deviation.square())
    for row, column in ((0, 0), (7, 6), (4, 9), (14, 12)):
        g = float(information[0, 0, row, column])
        objective = weight * 0.5 * (grid.square() - 1 - 2 * grid.log()) + 0.5 * grid.square() * 0.1**2 * g
        assert float(found[0, 0, row, column]) == pytest.approx(float(grid[objective.argmin()]), abs=1e-4)
    assert float(information.min()) == 0
    assert torch.equal(found[information == 0], torch.ones_like(found[information == 0]))  # nothing measured, nothing learned


def test_there_is_no_image_factor_without_an_image_space_part() -> None:
    with pytest.raises(ValueError, match="no image-space part"):
        fit(problem(), "vble", 1).image_factor(torch.ones(1))


@pytest.mark.parametrize("lively", [False, True])
def test_closed_form_variance_is_that_of_many_samples(lively: bool) -> None:
    posterior = fit(problem(lively=lively), "vble-xz", 60)
    samples = posterior.sample(1500)
    moments = posterior.moments(1500)
    latent = replace(posterior, information=None).sample(1500).var(0)  # which the moments average over the nearest pixels
    deviation = (samples.var(0) - latent + binomial(latent)).sqrt()
    # Relative error of a deviation from 1500 samples: 1.8 %; five of them per pixel, far less on average.
    assert torch.allclose(deviation, moments.std, rtol=0.09)
    assert float((deviation / moments.std).mean()) == pytest.approx(1, abs=0.01)
    error = (samples.mean(0) - moments.mean) / (moments.std / math.sqrt(1500))
    assert error.abs().max() < 5
    assert float(error.square().mean()) == pytest.approx(1, abs=0.5)


def test_mixture_has_the_moments_of_its_samples() -> None:
    given = problem(known=True)
    method = VBLE(given.prior, FitSettings(method="vble-xz", iterations=30, lattices=4))
    mixture = method.fit_mixture(given.y, given.physics, rate_scale=1.0)
    parts = [p.moments(2) for p in mixture.parts]
    moments = mixture.moments(8)
    mean = torch.stack([p.mean for p in parts]).mean(0)
    assert torch.allclose(moments.mean, mean, atol=1e-6)
    within = torch.stack([p.std.square() for p in parts]).mean(0)
    between = torch.stack([p.mean.square() for p in parts]).mean(0) - mean.square()
    assert torch.allclose(moments.std.square(), within + binomial(between), atol=1e-5)
    assert (moments.std > torch.stack([p.std for p in parts]).square().mean(0).sqrt() + 1e-4).any()  # the parts disagree somewhere
    samples = mixture.sample(1200)
    assert float(samples.var(0).mean() / moments.std.square().mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(mixture.sample(2, first=3), samples[3:5])


def test_shifted_lattices_place_the_scene_differently_on_the_canvas() -> None:
    given = problem()
    method = VBLE(given.prior, FitSettings(method="map", iterations=1, lattices=4))
    frames = [p.frame for p in method.fit_mixture(given.y, given.physics, rate_scale=1.0).parts]
    assert len({(f.top % 2, f.left % 2) for f in frames}) == 4
    for frame in frames:
        assert (15 + frame.top + frame.bottom) % 4 == 0
        assert (13 + frame.left + frame.right) % 4 == 0


def test_few_samples_tell_the_deviation_of_a_decoder_that_takes_noise_away() -> None:
    """Where the network undoes most of its linear part, a difference of sampled variances would be all noise."""

    class Denoising(LinearPrior):
        def decode(self, z: torch.Tensor) -> torch.Tensor:
            linear = super().decode(z)
            rows = torch.linspace(0.2, 1, linear.shape[-2], dtype=z.dtype)[:, None]
            return linear * rows

        def linear(self, z: torch.Tensor) -> torch.Tensor | None:
            return super().decode(z)

    given = problem()
    prior = Denoising(known=True)
    posterior = VBLE(prior, FitSettings(method="vble", iterations=10)).fit(given.y, given.physics, rate_scale=1.0)
    many = replace(posterior, seed=5).moments(6000).std
    few = posterior.moments(8).std
    assert float((few / many).log().square().mean().sqrt()) < 0.12
    plain = torch.stack([posterior._decoded(posterior._latent_draw(k))[0] for k in range(8)]).std(0)
    assert float((plain / many).log().square().mean().sqrt()) > 0.24
