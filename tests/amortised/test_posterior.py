"""The posterior of a pass: closed forms against samples, positions, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imaging.amortised import AmortisedReconstructor, ImagePosterior, load_image_posterior, save_image_posterior
from imaging.amortised.correlation import error_field, place_of
from imaging.amortised.features import CONTRASTS
from imaging.errors import InputError
from imaging.sensors.wiener import sensor_bank
from tests.amortised.networks import measurement, physics, tiny


def posterior(side: int = 64, factor: int = 1, **changes: object) -> ImagePosterior:
    """Of a random network."""
    network = tiny()
    y = measurement(side, side)
    y[..., side // 2 :] = 0.3 + 4 * (y[..., side // 2 :] - 0.3)  # two contrasts
    return AmortisedReconstructor(network).fit(y, physics(factor=factor), margins=False, **changes)


@pytest.mark.parametrize("factor", [1, 2])
def test_samples_have_the_stated_moments(factor: int) -> None:
    """Means, deviations of pixels, blocks and weighted sums of 400 samples, to within five standard errors of such statistics."""
    p = posterior(32, factor)
    drawn = p.sample(400)
    error = (drawn - p.image) / p.deviation
    assert float(error.mean(0).square().mean().sqrt()) == pytest.approx(400**-0.5, rel=0.2)
    assert float(error.square().mean()) == pytest.approx(1, abs=0.05)
    for block in (4, 16):
        mean, std = p.moments(block=block)
        torch.testing.assert_close(mean, torch.nn.functional.avg_pool2d(p.image, block))
        found = torch.nn.functional.avg_pool2d(drawn.flatten(0, 1), block).reshape(400, 1, 1, *std.shape[2:])
        ratio = (found - mean).square().mean(0) / std.square()
        assert float((ratio - 1).abs().max()) < 5 * (2 / 400) ** 0.5
    weights = torch.randn(p.image.shape, generator=torch.Generator().manual_seed(1)) + 0.3
    sums = (weights * (drawn - p.image)).sum((-2, -1))
    assert float(sums.square().mean()) == pytest.approx(float(p.std_of_sum(weights)) ** 2, rel=5 * (2 / 400) ** 0.5)


def test_sum_over_one_block_is_that_blocks_mean() -> None:
    p = posterior(64)
    weights = torch.zeros_like(p.image)
    weights[..., 16:32, 32:48] = 1 / 256
    assert float(p.std_of_sum(weights)) == pytest.approx(float(p.std(block=16)[0, 0, 1, 2]), rel=1e-4)
    pixel = torch.zeros_like(p.image)
    pixel[..., 20, 45] = 1
    assert float(p.std_of_sum(pixel)) == pytest.approx(float(p.deviation[0, 0, 20, 45]), rel=1e-3)


def test_samples_follow_the_absolute_position() -> None:
    """The noise of a cut of a scene is that of the whole: the same field where contrast and deviation are the same."""
    whole = posterior(128)
    field, r = whole.field, whole.field.radius
    cut = ImagePosterior(
        whole.image[..., 32:96, 40:104], whole.deviation[..., 32:96, 40:104],
        type(field)(field.kernels, field.position[..., 32:96, 40:104]), [(32, 40)], whole.seed,
    )  # fmt: skip
    torch.testing.assert_close(cut.sample(2, first=3), whole.sample(2, first=3)[..., 32:96, 40:104], atol=1e-6, rtol=0)
    assert r == 16


def test_samples_are_repeatable_and_differ_by_index_and_seed() -> None:
    p, other = posterior(), posterior(seed=1)
    assert torch.equal(p.sample(3)[1:], p.sample(2, first=1))
    errors = [(s - p.image).flatten() for s in (*p.sample(2), other.sample(1)[0])]
    for a, b in ((0, 1), (0, 2)):
        assert abs(float(torch.corrcoef(torch.stack([errors[a], errors[b]]))[0, 1])) < 0.2


def test_quantiles_are_those_of_a_gaussian() -> None:
    p = posterior()
    low, middle, high = p.quantiles([0.05, 0.5, 0.95])
    torch.testing.assert_close(middle, p.image)
    torch.testing.assert_close(high - p.image, 1.6448536 * p.deviation)
    torch.testing.assert_close(p.image - low, 1.6448536 * p.deviation)
    with pytest.raises(ValueError, match=r"quantile level 1\.5"):
        p.quantiles([1.5])


def test_files_keep_everything(tmp_path: Path) -> None:
    p = posterior(48, seed=5, origins=[(64, 8)])
    save_image_posterior(p, tmp_path / "p.safetensors")
    again = load_image_posterior(tmp_path / "p.safetensors")
    assert again.origins == [(64, 8)]
    for one, other in zip((*p.moments(block=4), p.sample(1)), (*again.moments(block=4), again.sample(1)), strict=True):
        assert torch.equal(one, other)
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(InputError, match="cannot be read as a safetensors file"):
        load_image_posterior(tmp_path / "text")


def test_contrast_follows_the_deviation_and_has_no_unit() -> None:
    """Deviations that a contrast's filter is expected to leave have that contrast's place; those beyond the bank its ends."""
    for power in (1.0, 3.0):
        bank = sensor_bank(physics(0.2, power=power), power * measurement(), 0.3 * power, CONTRASTS)
        for k, error in enumerate(bank.errors()):
            place = place_of(bank.errors(), error.expand(1, 1, 16, 16))
            assert float(place.mean()) == pytest.approx(k, abs=1e-3)
        assert float(place_of(bank.errors(), bank.errors()[-1].expand(1, 1, 8, 8) * 9).max()) == len(CONTRASTS) - 1
        assert float(place_of(bank.errors(), bank.errors()[0].expand(1, 1, 8, 8) / 9).min()) == 0


def test_samples_measured_again_differ_by_the_noise() -> None:
    """Where deviations are those that Wiener filters are expected to leave, the residual of a sample is white and as large as the noise."""
    sensor = physics()
    y = sensor(torch.full((1, 1, 268, 268), 0.3), seed=1)
    bank = sensor_bank(sensor, y, 0.3, CONTRASTS)
    for k in (1, 3, 5):
        deviation = bank.errors()[k].expand(1, 1, 256, 256)
        spectrum = bank.error_spectrum(CONTRASTS[k])[0, 0]
        response = torch.fft.fft2(sensor.psf[0, 0].double(), spectrum.shape)
        expected = float((response.abs().square() * spectrum).mean())
        field = error_field(bank, place_of(bank.errors(), deviation))
        drawn = ImagePosterior(torch.zeros(1, 1, 256, 256), deviation, field, [(0, 0)]).sample(8)[:, 0]
        assert float(sensor.A(drawn).square().mean()) == pytest.approx(expected, rel=0.1)
