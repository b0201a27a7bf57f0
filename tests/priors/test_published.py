"""The compressai families: compressai's own classes are the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imaging.priors.rate import log_bottleneck, log_uniform_gaussian

models = pytest.importorskip("compressai.models")

from imaging.priors.published import (  # noqa: E402
    ChengAutoencoder,
    FactorizedAutoencoder,
    JointAutoencoder,
    MeanScaleAutoencoder,
    PublishedAutoencoder,
)

FAMILIES: dict[str, tuple[type[PublishedAutoencoder], str, tuple[int, ...]]] = {
    "mean-scale": (MeanScaleAutoencoder, "MeanScaleHyperprior", (16, 24)),
    "mbt": (JointAutoencoder, "JointAutoregressiveHierarchicalPriors", (16, 24)),
    "cheng": (ChengAutoencoder, "Cheng2020Attention", (16,)),
    "factorized": (FactorizedAutoencoder, "FactorizedPrior", (16, 24)),
}
NETWORK_WIDTHS = {"mean-scale": (16, 24), "mbt": (16, 24), "cheng": (16, 16), "factorized": (16, 24)}


def original(name: str) -> Any:
    """The model of compressai, with random weights."""
    torch.manual_seed(1)
    _, cls, sizes = FAMILIES[name]
    return getattr(models, cls)(*sizes).eval()


def ours(name: str, **settings: Any) -> PublishedAutoencoder:
    torch.manual_seed(2)
    hidden, latents = NETWORK_WIDTHS[name]
    return FAMILIES[name][0](hidden=hidden, latents=latents, **settings).eval().requires_grad_(False)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_reconstruction_and_rate_are_those_of_compressai(name: str, image: torch.Tensor) -> None:
    theirs, model = original(name), ours(name, spread=False)
    model.load_state_dict(theirs.state_dict())
    out = theirs(image)
    # What compressai rounds to, in its own words.
    y = theirs.g_a(image)
    if name == "factorized":
        z, h = theirs.entropy_bottleneck(y)[0], y[:, :0]
    else:
        h = theirs.entropy_bottleneck(theirs.h_a(y))[0]
        if name == "mean-scale":
            z = theirs.gaussian_conditional.quantize(y, "dequantize", theirs.h_s(h).chunk(2, 1)[1])
        else:
            z = theirs.gaussian_conditional.quantize(y, "dequantize")
    assert torch.equal(model.encode(image).z, y)
    torch.testing.assert_close(model.decode(z), out["x_hat"], rtol=1e-5, atol=1e-5)
    nats = sum(v.double().log().sum((1, 2, 3)) for v in out["likelihoods"].values())
    assert min(float(v.min()) for v in out["likelihoods"].values()) > 1e-8  # else compressai's floor would be compared
    if name in {"mbt", "cheng"}:
        # Their context model sees the latents rounded as they are, their likelihood those rounded about the predicted mean.
        mean, scale = model.conditional(z, h)
        value = theirs.gaussian_conditional.quantize(y, "dequantize", mean)
        rate = log_uniform_gaussian(value, mean, scale).sum((1, 2, 3)) + log_bottleneck(model.entropy_bottleneck, h).sum((1, 2, 3))
    else:
        rate = model.log_prob(z, h)
    torch.testing.assert_close(rate.double(), nats, rtol=1e-5, atol=0)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_number_of_channels(name: str, channels: int) -> None:
    model = ours(name, channels=channels, alpha=0.05)
    x = torch.rand(2, channels, 64, 128)
    latents = model.encode(x)
    assert latents.z.shape == (2, NETWORK_WIDTHS[name][1], 4, 8)
    assert latents.h.shape == (2, 0 if name == "factorized" else 16, 64 // model.hyper_stride, 128 // model.hyper_stride)
    assert model.decode(latents.z).shape == x.shape
    assert model.log_prob(*latents).shape == (2,)
    # The untrained deviation is the one of the rate: gamma^2 = C / (2 ln 2 alpha 255^2).
    torch.testing.assert_close(model.decode_std(latents.z), torch.full_like(x, (channels / (0.1 * 0.693147)) ** 0.5 / 255 + 2e-4))


def test_replicated_network_sees_three_copies_and_averages(image: torch.Tensor) -> None:
    wide, model = ours("mbt", channels=3), ours("mbt", channels=1, replicated=True)
    model.load_state_dict(wide.state_dict())
    x = image[:, :1]
    z = model.encode(x).z
    assert torch.equal(z, wide.encode(x.expand(-1, 3, -1, -1)).z)
    torch.testing.assert_close(model.decode(z), wide.decode(z).mean(1, keepdim=True))
    torch.testing.assert_close(model.decode_std(z), wide.decode_std(z).mean(1, keepdim=True))
    with pytest.raises(ValueError, match="channels is 3; a replicated network takes 1"):
        ours("mbt", channels=3, replicated=True)


def test_context_is_causal() -> None:
    model = ours("mbt").double()
    z = torch.randn(1, 24, 8, 8, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, 16, 2, 2, dtype=torch.float64)
    mean, scale = model.conditional(z, h)
    gradient = torch.autograd.grad((mean + scale)[..., 4, 4].sum(), z)[0].abs().sum((0, 1)).flatten()
    here = 4 * 8 + 4
    assert gradient[here - 1] > 0
    assert not gradient[here:].any()


def test_attention_needs_equal_widths() -> None:
    with pytest.raises(ValueError, match="as many of one as of the other"):
        ChengAutoencoder(hidden=16, latents=24)


@pytest.mark.parametrize(("name", "reach"), [("mean-scale", 30), ("mbt", 30), ("factorized", 30), ("cheng", 148)])
def test_reach_of_a_latent(name: str, reach: int) -> None:
    # Four transposed 5 x 5 convolutions: 2 (1 + 2 + 4 + 8) pixels. Attention, itself convolutional, reaches farther.
    assert ours(name).receptive_field(512) == reach
