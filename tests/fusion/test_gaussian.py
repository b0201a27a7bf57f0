"""The Gaussian posterior of a bundle against dense linear algebra, and its intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.fusion import CrossBandGaussian
from imaging.fusion.gaussian import CONTRASTS, half_plane_mean
from imaging.fusion.solver import Solver, solver_of
from imaging.sensors import SensorPhysics, SignalDependentNoise
from tests.fusion.bundles import TYPICAL, Dense, Periodic, drawn, measured, mixing, sensor

WEIGHTS = torch.tensor([[0.6, 0.4], [0.1, 0.9]])
QUARTERS = torch.full((1, 4), 0.25)


def model(
    sharp: int = 1, ratio: int = 2, shift: tuple[float, float] = (0.0, 0.0), *, kind: Any = CrossBandGaussian, radius: int = 4
) -> Any:
    """Two coarse bands and one or two sharp ones, with kernels that fit on small grids."""
    fine, low = sensor(sharp, 0.2, 0.01, radius=radius), sensor(2, 0.3, 0.004, factor=ratio, shift=shift, radius=radius)
    return kind(fine, low, mixing(WEIGHTS[:sharp]), torch.tensor([*[0.35, 0.3][:sharp], 0.4, 0.25]))


def bundle(noise: float = 1.0) -> CrossBandGaussian:
    """Four coarse bands under a panchromatic one, with margins for scenes that are drawn."""
    fine, low = sensor(1, 0.15, 0.006 * noise, margin=28), sensor(4, 0.3, 0.0035 * noise, factor=4, margin=28)
    return CrossBandGaussian(fine, low, mixing(QUARTERS, 0.15, 1e-3), torch.full((5,), 0.4))


def double(ours: CrossBandGaussian) -> CrossBandGaussian:
    """The same in float64."""
    parts = {n: SensorPhysics(p.psf.double(), p.noise_model, None, p.factor) for n, p in (("sharp", ours.sharp), ("coarse", ours.coarse))}
    return replace(ours, **parts, covariance=ours.covariance.double(), means=ours.means.double())


@pytest.mark.parametrize("contrast", [1 / 16, 4.0])
@pytest.mark.parametrize(("sharp", "ratio", "shift"), [(1, 2, (0.0, 0.0)), (1, 3, (0.7, -0.4)), (2, 2, (0.7, -0.4)), (2, 3, (0.0, 0.0))])
def test_mean_and_error_are_those_of_dense_algebra(sharp: int, ratio: int, shift: tuple[float, float], contrast: float) -> None:
    ours, size = model(sharp, ratio, shift), (12, 18)
    dense = Dense(ours, size, contrast)
    y = np.random.default_rng(ratio).standard_normal(len(dense.noise())) * 0.05
    count = sharp * size[0] * size[1]
    fine, low = torch.from_numpy(y[:count]).reshape(1, sharp, *size), torch.from_numpy(y[count:]).reshape(1, 2, size[0] // ratio, -1)
    mean, covariance = dense.posterior(y)
    expected = np.diag(covariance).reshape(2 + sharp, -1).mean(1)
    for solver, dtype, tolerance in (
        (Solver(double(ours), size), torch.float64, 2e-6),
        (Solver(ours, size), torch.float32, 1e-5),
        (solver_of(double(ours), size), torch.float64, 2e-6),
        (solver_of(ours, size), torch.float32, 1e-5),
    ):
        found = solver.mean(contrast, torch.fft.rfft2(fine.to(dtype)), low.to(dtype))
        np.testing.assert_allclose(found.numpy().ravel(), mean, atol=tolerance * np.abs(mean).max())
        np.testing.assert_allclose(half_plane_mean(solver.error_spectrum(contrast)).numpy(), expected, rtol=tolerance)


def torn(sharp_hole: tuple[int, ...], coarse_hole: tuple[int, ...]) -> tuple[Tensor, Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of a measurement with a hole, and those of the dense posterior without what is missing."""
    ours, size = model(kind=Periodic), (16, 24)
    dense, count = Dense(ours, size), size[0] * size[1]
    means = ours.means.double().numpy()[:, None, None]
    scene = drawn(ours, size, 5)[0].double().numpy() - means
    noise = np.random.default_rng(0).standard_normal(len(dense.noise())) * np.sqrt(dense.noise())
    y = dense.operator() @ scene.ravel() + noise
    fine = torch.from_numpy(y[:count].reshape(1, 1, *size) + means[:1]).float()
    low = torch.from_numpy(y[count:].reshape(1, 2, size[0] // 2, -1) + means[1:]).float()
    masks = torch.ones_like(fine), torch.ones_like(low)
    for mask, hole in zip(masks, (sharp_hole, coarse_hole), strict=True):
        if hole:
            row, column, side = hole
            mask[..., :1, row : row + side, column : column + side] = 0
    valid = np.concatenate([m.numpy().ravel() for m in masks]) > 0
    mean, covariance = dense.posterior(y, valid)
    spoilt = (torch.where(m > 0, v, torch.tensor(7.0)) for v, m in zip((fine, low), masks, strict=True))
    found, deviation = ours.posterior(*spoilt, *masks)
    return found[0].double(), deviation[0].double(), mean.reshape(-1, *size) + means, np.sqrt(np.diag(covariance)).reshape(-1, *size)


@pytest.mark.parametrize(("side", "tolerance"), [(1, 0.05), (2, 0.1), (5, 0.2)])
def test_missing_sharp_pixels_are_filled_towards_the_posterior_without_them(side: int, tolerance: float) -> None:
    """Filling goes on for some rounds only: what it lacks must be small against the deviation, in and around the hole."""
    mean, deviation, exact, spread = torn((6, 9, side), ())
    assert float((np.abs(mean.numpy() - exact) / spread).max()) < tolerance
    hole = (slice(1, None), slice(6, 6 + side), slice(9, 9 + side))  # deviations are those where no sharp band is: at least as large
    assert float((deviation.numpy() / spread)[hole].min()) > 0.98
    assert float((deviation.numpy() / spread)[hole].max()) < 1.2


def test_missing_coarse_pixels_are_filled_towards_the_posterior_without_them() -> None:
    mean, deviation, exact, spread = torn((), (3, 4, 1))
    assert float((np.abs(mean.numpy() - exact) / spread).max()) < 0.5  # of a deviation, before the first round 1.7
    assert bool((deviation.numpy() > 0.9 * spread).all())


@pytest.mark.parametrize("side", [8, 40])
def test_intervals_hold_where_the_sharp_band_is_missing(side: int) -> None:
    """Mean squares of errors over deviations, in holes of drawn scenes; each is of some thousand values that hang together."""
    ours, squares = bundle(), []
    for seed in range(3):
        scene = drawn(ours, (216, 216), seed)
        sharp, coarse = measured(ours, scene, 10 * seed)
        mask = torch.ones_like(sharp)
        hole = (..., slice(60, 60 + side), slice(60, 60 + side))
        mask[hole] = 0
        mean, deviation = ours.posterior(torch.where(mask > 0, sharp, torch.tensor(0.9)), coarse, mask)
        error = (mean - scene[..., 28:-28, 28:-28]) / deviation
        squares.append(float(error[:, 1:][hole].square().mean()))
    assert 0.5 < np.mean(squares) < 1.5


def test_intervals_cover_scenes_of_the_model() -> None:
    ours = bundle()
    for contrast in (1 / 4, 1.0, 4.0):
        scene = drawn(ours, (216, 216), 3, contrast)
        mean, deviation = ours.posterior(*measured(ours, scene, 7))
        inner = (slice(None), slice(None), slice(12, -12), slice(12, -12))
        error = (mean - scene[..., 28:-28, 28:-28]).abs()[inner]
        covered = (error < 1.6449 * deviation[inner]).double().mean((0, 2, 3))
        assert 0.87 < float(covered[1:].mean()) < 0.93
        assert bool(((covered > 0.86) & (covered < 0.94)).all())


def test_position_tells_the_contrast() -> None:
    ours = bundle()
    for contrast in (1 / 16, 1.0, 16.0):
        scene = drawn(ours, (216, 216), 1, contrast)
        sharp, _ = measured(ours, scene, 1)
        assert float(ours.position(sharp).mean()) == pytest.approx(np.log2(contrast) / 2 + TYPICAL, abs=0.25)


def test_position_goes_by_valid_pixels() -> None:
    ours = bundle()
    sharp, _ = measured(ours, drawn(ours, (216, 216), 1), 1)
    mask = torch.ones_like(sharp)
    mask[..., 50:110, 50:110] = 0
    spoilt = torch.where(mask > 0, sharp, sharp.mean())
    place = ours.position(spoilt, mask)
    assert float((place - ours.position(sharp)).abs().mean()) < 0.25
    assert float(place[..., 50:110, 50:110].min()) > 1.5
    assert torch.equal(ours.position(sharp, torch.ones_like(mask)), ours.position(sharp))


def test_more_noise_leaves_more_open_and_so_does_a_missing_sensor() -> None:
    quiet, loud = bundle(), bundle(3.0)
    assert bool((loud.deviations > quiet.deviations).all())
    for blind in quiet.blind_deviations:
        assert bool((blind >= 0.999 * quiet.deviations).all())
    assert bool((quiet.blind_deviations[0][TYPICAL, 1:] > 1.2 * quiet.deviations[TYPICAL, 1:]).all())
    assert bool((quiet.deviations.diff(dim=0) > 0).all())  # of scenes of more contrast, too


def test_expected_deviations_are_between_those_of_the_contrasts() -> None:
    ours = bundle()
    torch.testing.assert_close(ours.expected(2.0), ours.deviations[2])
    torch.testing.assert_close(ours.expected(2.5), (ours.deviations[2] * ours.deviations[3]).sqrt())
    torch.testing.assert_close(ours.expected(6.0), ours.deviations[6])


def test_samples_hang_together_as_the_errors_do() -> None:
    """Kernels reproduce the errors' spectrum but for what is cut off far from their middle."""
    ours = bundle()
    kernels = ours.error_kernels[TYPICAL, 0]
    size = (128, 128)
    power = torch.fft.rfft2(kernels, s=size).abs().square()
    expected = ours.spectra[TYPICAL] / half_plane_mean(ours.spectra[TYPICAL])[:, None, None]
    low = torch.hypot(torch.fft.fftfreq(128)[:, None], torch.fft.rfftfreq(128)[None])
    for first, last in ((0.05, 0.1), (0.1, 0.2), (0.2, 0.3)):
        ring = (low >= first) & (low < last)
        np.testing.assert_allclose(power[:, ring].mean(1), expected[:, ring].mean(1), rtol=0.1)


def test_what_the_sharp_bands_see_beyond_the_coarse_ones_is_the_variance_there() -> None:
    ours = bundle()
    scene = drawn(ours, (256, 256), 2)[:, :1] - ours.means[0]
    seen = torch.fft.fft2(scene) * torch.fft.fft2(torch.nn.functional.pad(ours.sharp.psf, (0, 243, 0, 243)))
    radius = torch.hypot(torch.fft.fftfreq(256)[:, None], torch.fft.fftfreq(256)[None])
    fine = torch.fft.ifft2(seen * (radius > 0.25 / ours.ratio)).real
    assert float(fine.var()) == pytest.approx(float(ours.fine_power(TYPICAL)[0]), rel=0.05)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit coarse ones of 8 x 8"):
        model().posterior(torch.zeros(1, 1, 16, 18), torch.zeros(1, 2, 8, 8))


def test_items_of_a_batch_do_not_see_each_other() -> None:
    ours = bundle()
    both = [measured(ours, drawn(ours, (120, 120), seed, 4.0**seed), seed) for seed in (0, 1)]
    sharp, coarse = (torch.cat(v) for v in zip(*both, strict=True))
    mask = torch.ones_like(sharp)
    mask[0, :, 20:24, 20:30] = 0
    together = ours.posterior(sharp, coarse, mask)
    for item in (0, 1):
        alone = ours.posterior(sharp[item : item + 1], coarse[item : item + 1], mask[item : item + 1])
        for one, other in zip(alone, together, strict=True):
            assert float(((one[0] - other[item]) / alone[1][0]).abs().max()) < 0.01  # deviations; float32 tells no more


def test_noise_is_that_at_the_mean_signal() -> None:
    fine = SensorPhysics(sensor(1, 0.2, 0.0).psf, SignalDependentNoise(torch.tensor([0.01]), torch.tensor([0.001])))
    ours = replace(bundle(), sharp=fine)
    assert float(ours.noises[0]) == pytest.approx(1e-4 + 0.4 * 0.001)
    assert len(CONTRASTS) == len(ours.deviations)
