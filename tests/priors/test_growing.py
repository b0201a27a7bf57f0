"""Training from a released model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imaging.errors import InputError
from imaging.priors import load_prior
from imaging.priors.autoencoders import LappedAutoencoder
from imaging.priors.base import LatentPrior
from imaging.priors.vae import VariationalAutoencoder
from imaging.priors.zoo import save_prior, start_from
from tests.priors.models import tiny
from tests.scenes import smooth

SIZES = {"width": 16, "blocks": 1, "fine": 8, "fine_blocks": 1, "hyper": 8, "hidden": 16, "context_blocks": 1}


def scene(channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(smooth(channels, 64, 64)[None] / 4095)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released model, with weights that leave nothing at zero."""
    path = tmp_path_factory.mktemp("zoo") / "alive"
    model = tiny()
    settings = "\n".join(f"{k} = {v}" for k, v in model.settings.items())
    save_prior(model, path, f'name = "alive"\nfamily = "lapped"\n\n[model]\n{settings}\n')
    return path


@pytest.mark.parametrize(
    "larger",
    [{}, {"context_blocks": 2}, {"width": 24, "fine": 12}, {"blocks": 3, "fine_blocks": 2}, {"hidden": 24, "hyper": 12, "width": 18}],
)
def test_a_larger_model_starts_as_the_released_one(folder: Path, larger: dict[str, int]) -> None:
    torch.manual_seed(1)
    released = load_prior(str(folder)).double()
    model = LappedAutoencoder(**SIZES | larger).eval()
    start_from(model, folder)
    model = model.double()
    x = scene()
    with torch.no_grad():
        z, h = released.encode(x)
        ours = model.encode(x)
        torch.testing.assert_close(ours.z, z, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(ours.h[:, : h.shape[1]], h, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(model.decode(z), released.decode(z), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(model.decode_std(z), released.decode_std(z), rtol=1e-9, atol=1e-10)
        for mine, theirs in zip(model.conditional(*ours), released.conditional(z, h), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


def test_what_is_new_is_not_dead(folder: Path) -> None:
    model = LappedAutoencoder(**SIZES | {"width": 24, "fine": 12}).eval()
    start_from(model, folder)
    x = scene().float()
    (model.decode(model.encode(x).z) - x).square().sum().backward()
    last = [m for m in model.decoder if isinstance(m, torch.nn.Conv2d)][-1]
    assert last.weight.grad[:, 8:].abs().max() > 0


@pytest.mark.parametrize("channels", [3, 4])
def test_several_bands_start_as_one_on_their_first_component(folder: Path, channels: int) -> None:
    torch.manual_seed(2)
    released = load_prior(str(folder)).double()
    model = LappedAutoencoder(channels, 0.18 * channels, **SIZES | {"hidden": 32}).eval()
    model.set_statistics(torch.rand(8, channels, 64, 64).cumsum(1) / channels)
    start_from(model, folder)
    mixture, model = model.mixture.double(), model.double()
    torch.testing.assert_close(mixture @ mixture.T, torch.eye(channels, dtype=torch.float64), rtol=0, atol=1e-6)
    x = scene(channels)
    first = torch.einsum("k,bkhw->bhw", mixture[0], x)[:, None]
    with torch.no_grad():
        z, h = released.encode(first)
        ours = model.encode(x)
        torch.testing.assert_close(ours.z[:, ::channels], z, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(ours.h, h, rtol=1e-5, atol=1e-4)
        image = torch.einsum("k,bkhw->bhw", mixture[0], model.decode(ours.z))[:, None]
        torch.testing.assert_close(image, released.decode(ours.z[:, ::channels]), rtol=0, atol=1e-5)
        theirs = released.conditional(ours.z[:, ::channels], ours.h)
        for mine, other in zip(model.conditional(*ours), theirs, strict=True):
            torch.testing.assert_close(mine[:, ::channels], other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (LappedAutoencoder(**SIZES | {"width": 12}), "its width is 16, larger than 12"),
        (LappedAutoencoder(**SIZES, alpha=0.1), "its alpha per channel differs"),
        (LappedAutoencoder(3, 0.54, **SIZES), "its context model has 4 channels a group, this one 2"),
        (VariationalAutoencoder(), "is missing, unknown or of another shape"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_left_alone(model: LatentPrior, reason: str, folder: Path) -> None:
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match=reason):
        start_from(model, folder)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
