"""The lapped autoencoder as a density: causality, rate, invariance, linear part, reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.base import LatentPrior
from imaging.priors.lapped import frequency_order
from imaging.priors.networks import GroupCausalConv2d
from imaging.priors.rate import log_bottleneck, log_uniform_gaussian
from tests.priors.models import tiny
from tests.scenes import smooth


def image(bands: int, height: int = 64, width: int = 96) -> Tensor:
    return torch.from_numpy(smooth(bands, height, width) / 4095.0).float()[None]


@pytest.mark.parametrize("strict", [True, False])
def test_convolution_sees_earlier_groups_and_its_own_past(strict: bool) -> None:
    torch.manual_seed(0)
    group_in, group_out = [0, 1, 1, 2], [0, 1, 2, 2]
    conv = GroupCausalConv2d(group_in, group_out, 5, strict=strict)
    x = torch.zeros(1, 4, 9, 9, requires_grad=True)
    for out, group in enumerate(group_out):
        (seen,) = torch.autograd.grad(conv(x)[0, out, 4, 4], x)
        for channel, own in enumerate(group_in):
            for row in range(9):
                for column in range(9):
                    inside = max(abs(row - 4), abs(column - 4)) <= 2
                    past = (row, column) < (4, 4) or (not strict and (row, column) == (4, 4))
                    assert bool(seen[0, channel, row, column]) == (inside and (own < group or (own == group and past)))


@pytest.mark.parametrize("channels", [1, 3])
def test_prediction_is_causal(channels: int) -> None:
    """A mean or scale depends on nothing of its own group from its own position on, else p(z | h) would be no density."""
    model = tiny(channels).double()
    groups = [sum(i + j >= b for b in (3, 5, 8)) for i, j in frequency_order(8) for _ in range(channels)]
    h = torch.randn(1, 8, 2, 2, dtype=torch.float64)
    z = torch.randn(1, 64 * channels, 8, 8, dtype=torch.float64, requires_grad=True)
    row, column = 3, 4
    later = torch.zeros(8, 8, dtype=torch.bool)
    later[row, column:] = True
    later[row + 1 :] = True
    own, index = torch.tensor(groups), torch.arange(64 * channels)
    for output in model.conditional(z, h):
        for group in range(4):
            for channel in index[own == group][:: 4 * channels].tolist():
                (seen,) = torch.autograd.grad(output[0, channel, row, column], z, retain_graph=True)
                assert not seen[0, own > group].any()
                assert not seen[0, own == group][:, later].any()
                assert seen[0, own == group][:, ~later].any()
                if group:
                    assert (seen[0, own < group][:, later].abs().amax(1) > 0).all()
                    assert (seen[0, own < group][:, ~later].abs().amax(1) > 0).all()


def test_rate_of_the_untrained_model_in_closed_form() -> None:
    """Before training each latent is Gaussian, the lowest frequency around the mean of its left and upper neighbours."""
    model = tiny(trained=False)
    model.set_statistics(image(1))
    z, h = model.encode(image(1))
    low = z[0, 0]
    base = model.z_mean[0, :, 0, 0, None, None].expand(64, *low.shape).clone()
    for row in range(low.shape[0]):
        for column in range(low.shape[1]):
            left = low[row, column - 1] if column else low[row - 1, column] if row else model.z_mean[0, 0, 0, 0]
            above = low[row - 1, column] if row else low[row, column - 1] if column else model.z_mean[0, 0, 0, 0]
            base[0, row, column] = (left + above) / 2
    expected = (
        log_uniform_gaussian(z[0], base, model.z_scale[0] * torch.exp(torch.tensor(-0.5))).sum() + log_bottleneck(model.bottleneck, h).sum()
    )
    assert float(model.log_prob(z, h)) == pytest.approx(float(expected), rel=1e-5)


def test_statistics_are_those_of_the_linear_latents() -> None:
    model, x = tiny(trained=False), image(1, 128, 128)
    model.set_statistics(x)
    z = (model.encode(x).z - 2 * model.encoder(model._relative(model.encode(x).z)))[..., 1:-1, 1:-1]
    assert torch.allclose(model.z_mean.flatten(), z.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(model.z_scale.flatten()[1:], z.std((0, 2, 3))[1:] + 0.05, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_for_any_number_of_channels(channels: int) -> None:
    model, x = tiny(channels), image(channels).repeat(2, 1, 1, 1)
    z, h = model.encode(x)
    assert z.shape == (2, 64 * channels, 8, 12)
    assert h.shape == (2, 8, 2, 3)
    assert model.decode(z).shape == x.shape
    assert model.decode_std(z).shape == x.shape
    assert model.decode_std(z).min() >= 2e-4
    both = model.log_prob(z, h)
    assert both.shape == (2,)
    assert torch.allclose(both[:1], model.log_prob(z[:1], h[:1]), rtol=1e-5)  # items do not meet


@pytest.mark.parametrize("channels", [1, 3])
def test_squared_frequency_is_that_of_each_latent_channel(channels: int) -> None:
    """A plane wave along one axis has its energy in the latents of its own frequency."""
    model = tiny(channels, trained=False).double()
    squares = model.squared_frequency()
    assert squares.shape == (64 * channels,)
    for k in (1, 3, 6):
        phase = torch.cos(torch.pi * k / 8 * (torch.arange(64, dtype=torch.float64) + 0.5))
        z = model.encode(phase.expand(1, channels, 64, 64)).z[..., 2:-2, 2:-2]
        energy = z.square().sum((0, 2, 3))
        mean = float((energy * squares).sum() / energy.sum())
        assert mean**0.5 == pytest.approx(k / 8, abs=0.06)


@pytest.mark.parametrize("channels", [1, 3])
def test_untrained_model_reconstructs_away_from_the_border(channels: int) -> None:
    model, x = tiny(channels, trained=False), image(channels)
    difference = (model.decode(model.encode(x).z) - x)[..., model.border : -model.border, model.border : -model.border]
    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("trained", [False, True])
def test_brightness_passes_through(trained: bool) -> None:
    model, x = tiny(trained=trained).double(), image(1, 320, 320).double()
    inner = slice(144, -144)  # beyond the reach of the border
    dark = model.decode(model.encode(x).z)[..., inner, inner]
    bright = model.decode(model.encode(x + 0.37).z)[..., inner, inner]
    assert torch.allclose(bright - 0.37, dark, atol=1e-6)  # the transform's weights are float32
    spread = [model.decode_std(model.encode(x + c).z)[..., inner, inner] for c in (0, 0.37)]
    assert torch.allclose(spread[0], spread[1], atol=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.0018, 20.0), (0.0067, 10.4), (0.0483, 3.87), (0.18, 2.00), (0.36, 1.42)])
def test_decoder_deviation_belongs_to_the_rate(alpha: float, gamma: float) -> None:
    # shared/facts/vble.md, table of section 1.1, in grey levels; with C channels the square is C times that.
    sizes = {"width": 16, "blocks": 1, "fine": 8, "fine_blocks": 1, "hyper": 8, "hidden": 16}
    assert 255 * LappedAutoencoder(1, alpha, **sizes).gamma == pytest.approx(gamma, rel=5e-3)
    assert 255 * LappedAutoencoder(3, alpha, **sizes).gamma == pytest.approx(3**0.5 * gamma, rel=5e-3)


def test_linear_part_and_its_variance() -> None:
    model = tiny().double()
    z = torch.randn(1, 64, 4, 4, dtype=torch.float64)
    variance = torch.rand(1, 64, 4, 4, dtype=torch.float64)
    rest = model.decode(z) - model.linear(z)
    assert torch.allclose(model.linear(3 * z), 3 * model.linear(z))
    assert rest.abs().max() > 1e-6  # what the network adds
    untrained = tiny(trained=False).double()
    assert torch.allclose(untrained.decode(z), untrained.linear(z), atol=1e-12)
    columns = model.linear(torch.eye(64 * 16, dtype=torch.float64).reshape(-1, 64, 4, 4))
    expected = (columns.square() * variance.reshape(-1, 1, 1, 1)).sum(0)
    assert torch.allclose(model.linear_variance(variance)[0], expected, rtol=1e-10)


def reach(model: LatentPrior, size: int) -> int:
    """Largest distance of a row or column of pixels that has a gradient with respect to the middle latent, float64."""
    x = torch.rand(1, model.channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = model.double().encode(x).z.detach().requires_grad_()
    middle, found = z.shape[-1] // 2, 0
    decoded, last = model.decode(z), (middle + 1) * model.stride - 1
    for distance in range(1, size - last):
        for line in (decoded[..., last + distance, :], decoded[..., last + distance]):
            (seen,) = torch.autograd.grad(line.square().sum(), z, retain_graph=True)
            if seen[..., middle, middle].any():
                found = distance
    model.float()
    return found


@pytest.mark.parametrize(("trained", "expected"), [(False, 4), (True, 52)])
def test_receptive_field_is_the_reach_of_a_latent(trained: bool, expected: int) -> None:
    # Trained: five 3 x 3 steps (one of them an average) at 1/8 resolution and three at 1/4.
    model = tiny(trained=trained)
    assert model.receptive_field(160) == reach(model, 160) == expected
    assert not model.training


def test_receptive_field_counts_both_axes() -> None:
    model = tiny(trained=False)
    with torch.no_grad():
        model.synthesis.weight[:, :, :, 0] = 0  # nothing reaches sideways any more
        model.synthesis.weight[:, :, :, 2] = 0
    assert model.receptive_field(128) == reach(model, 128) == 4
