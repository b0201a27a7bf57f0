"""The forward operator against brute force."""

from __future__ import annotations

from dataclasses import replace

import deepinv
import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.sensors import Band, Mtf, Noise, SensorPhysics, SignalDependentNoise, builtin_sensors, load_profile, sensor_physics


def quiet(channels: int = 1) -> SignalDependentNoise:
    return SignalDependentNoise(torch.full((channels,), 0.01), torch.full((channels,), 0.001))


def random_psf(channels: int, size: int, seed: int = 0) -> Tensor:
    psf = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return psf / psf.sum((-2, -1), keepdim=True)


def rand(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def groups(name: str) -> list[tuple[Band, ...]]:
    """All bands of a profile together, and each alone; bands without a noise model get one."""
    bands = tuple(replace(b, noise=b.noise or Noise(2.0, 0.05)) for b in load_profile(name).bands)
    return [bands, *((b,) for b in bands)]


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("name", builtin_sensors())
def test_adjoint_of_every_builtin_sensor(name: str, extra: int) -> None:
    for bands in groups(name):
        physics = sensor_physics(bands, 4095.0)
        physics = sensor_physics(bands, 4095.0, physics.radius + extra)
        m = physics.margin
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
            x = rand(2, len(bands), 20 + 2 * m, 27 + 2 * m, dtype=dtype)
            y = rand(2, len(bands), 20, 27, seed=2, dtype=dtype)
            forward, back = physics.A(x), physics.A_adjoint(y)
            assert forward.shape == y.shape
            assert back.shape == x.shape
            assert forward.dtype == back.dtype == dtype
            difference = (forward * y).sum() - (x * back).sum()
            assert abs(float(difference)) < tolerance * float(forward.norm() * y.norm())


@pytest.mark.parametrize("margin", [2, 4])
def test_operator_is_a_true_convolution(margin: int) -> None:
    psf, x = random_psf(2, 5), rand(1, 2, 9 + 2 * margin, 7 + 2 * margin)
    y = SensorPhysics(psf, quiet(2), margin).A(x)
    for band in range(2):
        for row in range(9):
            for column in range(7):
                # (k * x)[n] = sum over j of k[j] x[n - j], the kernel's origin in its middle.
                expected = sum(
                    psf[0, band, 2 + i, 2 + j] * x[0, band, row + margin - i, column + margin - j]
                    for i in range(-2, 3)
                    for j in range(-2, 3)
                )
                assert float(y[0, band, row, column]) == pytest.approx(float(expected), abs=1e-12)


def test_agrees_with_the_valid_convolution_of_deepinv() -> None:
    psf, x = random_psf(1, 5).float(), rand(2, 1, 20, 24, dtype=torch.float32)
    blur = deepinv.physics.Blur(filter=psf, padding="valid")
    assert torch.allclose(SensorPhysics(psf, quiet()).A(x), blur.A(x), atol=1e-6)


def test_one_kernel_serves_any_number_of_bands() -> None:
    psf, x = random_psf(1, 3), rand(1, 3, 12, 12)
    several = SensorPhysics(psf.expand(1, 3, 3, 3), quiet(3)).A(x)
    assert torch.allclose(SensorPhysics(psf, quiet()).A(x), several, atol=1e-14)


def test_constant_scene_stays_constant() -> None:
    physics = sensor_physics(load_profile("pleiades").bands, 4095.0)
    y = physics.A(torch.full((1, 5, 40, 40), 0.3))
    assert y.min() == pytest.approx(0.3, abs=1e-6)
    assert y.max() == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("margin", [1, 3])
def test_information_is_the_diagonal_of_the_normal_operator(margin: int) -> None:
    psf, height, width = random_psf(1, 3), 4, 5
    physics = SensorPhysics(psf, quiet(), margin)
    rows, columns = height + 2 * margin, width + 2 * margin
    basis = torch.eye(rows * columns, dtype=torch.float64).reshape(-1, 1, rows, columns)
    matrix = physics.A(basis).reshape(rows * columns, -1).T
    precision = rand(1, 1, height, width, seed=3).square()
    precision[0, 0, 1, 2] = 0  # not measured
    expected = torch.diagonal(matrix.T @ torch.diag(precision.flatten()) @ matrix)
    assert torch.allclose(physics.information(precision).flatten(), expected, atol=1e-12)


def test_noise_of_a_band_has_its_variance_in_stored_units() -> None:
    bands = (
        Band("A", 1.0, Mtf("gaussian", (0.2, 0.2)), Noise(3.0, 0.05)),
        Band("B", 1.0, Mtf("gaussian", (0.3, 0.3)), Noise(6.0, 0.2)),
    )
    variance = sensor_physics(bands, 4095.0).noise_model.variance(torch.full((1, 2, 1, 1), 1000 / 4095)).flatten() * 4095**2
    assert variance.tolist() == pytest.approx([9 + 50, 36 + 200], rel=1e-5)


def test_kernels_of_different_size_are_aligned() -> None:
    small = np.zeros((3, 3))
    small[1, 1] = 1.0
    bands = (
        Band("A", 1.0, Mtf("file", (1.0, 1.0), kernel=small), Noise(1.0, 0.0)),
        Band("B", 1.0, Mtf("gaussian", (0.3, 0.3)), Noise(1.0, 0.0)),
    )
    physics = sensor_physics(bands, 255.0)
    x = rand(1, 2, 30, 30, dtype=torch.float32)
    m = physics.margin
    assert torch.allclose(physics.A(x)[:, 0], x[:, 0, m:-m, m:-m], atol=1e-5)


def test_misuse_is_refused_with_what_is_expected() -> None:
    band = load_profile("generic").bands[0]
    with pytest.raises(ValueError, match="no noise model"):
        sensor_physics((band,), 255.0)
    with pytest.raises(ValueError, match="odd k"):
        SensorPhysics(torch.ones(1, 1, 4, 4) / 16, quiet())
    with pytest.raises(ValueError, match="at least the PSF radius, 2"):
        SensorPhysics(random_psf(1, 5), quiet(), 1)
    with pytest.raises(ValueError, match=r"expected \(B, 2, H, W\)"):
        SensorPhysics(random_psf(2, 5), quiet(2)).A(torch.zeros(1, 3, 20, 20))
    with pytest.raises(ValueError, match="sides of at least 5"):
        SensorPhysics(random_psf(1, 5), quiet()).A(torch.zeros(1, 1, 4, 20))
