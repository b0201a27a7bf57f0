"""Bundles that a training draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imaging.fusion.features import IMAGES, MAPS
from imaging.fusion.simulation import RATIOS, BundleBatches, BundleRanges, simulate_bundle, validation_bundles
from imaging.training import CropSampler, TrainingSettings
from tests.scenes import smooth

ONLY_4 = (0.0, 0.0, 1.0)
TOLD = BundleRanges(
    ratios=ONLY_4, mismatch=0.0, registration=0.0, beyond=0.0, holes=0.0, saturated=0.0, anisotropy=0.0, exponential=0.0,
    sharp_snr=(150.0, 300.0), coarse_snr=(200.0, 400.0),
)  # fmt: skip


def image(side: int = 200, bands: int = 3, seed: int = 0) -> np.ndarray:
    """Bands that have most of their structure in common, 8 bits."""
    common, own = smooth(1, side, side, seed), smooth(bands, side, side, seed + 1)
    return np.clip((0.8 * common + 0.35 * own) / 12 - 15, 0, 255).astype(np.uint8)


def crop(**changes: int) -> torch.Tensor:
    return torch.from_numpy(image(**changes).astype(np.float32) / 255)[None]


def settings(**changes: object) -> TrainingSettings:
    return replace(TrainingSettings(), crop=128, batch=2, seed=0, **changes)  # type: ignore[arg-type]


def test_batches_are_a_function_of_seed_and_step() -> None:
    sampler = CropSampler([image()], settings(), 3)
    one, again, other = (BundleBatches(sampler, BundleRanges(), s) for s in (1, 1, 2))
    first = one[3]
    one[0]
    for name, value in again[3].items():
        assert torch.equal(value, first[name]), name
    assert not torch.equal(one[4]["truth"], first["truth"])
    assert other[3]["truth"].shape != first["truth"].shape or not torch.equal(other[3]["truth"], first["truth"])


def test_batches_have_what_a_training_takes() -> None:
    ratio = 2
    ranges = BundleRanges(ratios=(1.0, 0.0, 0.0))
    found = BundleBatches(CropSampler([image()], settings(), 3), ranges, 0)[0]
    side = (128 - 2 * 7 * ratio) // ratio * ratio
    assert {k: tuple(v.shape) for k, v in found.items()} == {
        "truth": (2, 3, side, side), "mask": (2, 3, side, side), "estimate": (2, 3, side, side), "unit": (2, 3, side, side),
        "stack": (2, 3, IMAGES + MAPS, side, side),
    }  # fmt: skip
    assert all(bool(torch.isfinite(v.float()).all()) for v in found.values())
    assert found["stack"].dtype == torch.bfloat16


def test_masks_are_those_of_the_measurements() -> None:
    """Invalid values are nothing, saturated ones are those that a pixel can reach no more."""
    x, torn = crop(), 0
    for seed in range(12):
        ranges = replace(TOLD, holes=1.0, saturated=float(seed % 2))
        found = simulate_bundle(x, ranges, np.random.default_rng(seed))
        for y, mask in ((found.sharp, found.sharp_mask), (found.coarse, found.coarse_mask)):
            assert set(mask.unique().tolist()) <= {0.0, 1.0}
            assert not y[mask == 0].any()
            torn += int((mask == 0).any())
    assert torn >= 12
    clean = simulate_bundle(x, TOLD, np.random.default_rng(0))
    assert bool((clean.sharp_mask > 0).all())
    assert bool((clean.coarse_mask > 0).all())


@pytest.mark.parametrize("index", range(len(RATIOS)))
def test_the_truth_lies_where_the_measurements_are(index: int) -> None:
    """The truth, measured by the sensors that are told, is what was measured but for noise."""
    shares = tuple(float(k == index) for k in range(len(RATIOS)))
    found = simulate_bundle(crop(), replace(TOLD, ratios=shares), np.random.default_rng(4))
    r, model = RATIOS[index], found.model
    assert model.ratio == r
    assert found.truth.shape[-1] == found.sharp.shape[-1] == r * found.coarse.shape[-1]
    room = -(-model.coarse.radius // r) * r
    physics = replace(model).coarse
    seen = physics.A(found.truth)
    inner = slice(room // r, -(room // r))
    error = seen - found.coarse[..., inner, inner]
    deviation = physics.noise_model.variance(found.coarse[..., inner, inner]).sqrt()
    assert float((error / deviation).square().mean()) == pytest.approx(1, abs=0.25)


def test_what_is_told_is_near_the_truth() -> None:
    """The Gaussian posterior with the model that is told has a mean squared error near what it expects."""
    ratios = []
    for seed in range(4):
        found = simulate_bundle(crop(seed=seed), TOLD, np.random.default_rng(seed))
        mean, deviation = found.model.posterior(found.sharp, found.coarse)
        inner = (slice(None), slice(None), slice(12, -12), slice(12, -12))
        repeated = found.coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
        error, plain = ((v - found.truth)[inner].square().mean() for v in (mean[:, 1:], repeated))
        assert float(error) < 0.3 * float(plain)
        ratios.append(float(error / deviation[:, 1:][inner].square().mean()))
    assert 0.2 < np.mean(ratios) < 3  # blobs are no scenes of the model's spectrum


def test_registration_and_mismatch_are_not_told() -> None:
    wrong = replace(TOLD, registration=0.3, mismatch=0.2)
    one, other = (simulate_bundle(crop(), r, np.random.default_rng(1)) for r in (TOLD, wrong))
    assert torch.equal(one.sharp, other.sharp)
    assert torch.equal(one.coarse, other.coarse)
    assert one.model.coarse.psf.shape != other.model.coarse.psf.shape or not torch.equal(one.model.coarse.psf, other.model.coarse.psf)
    assert not torch.equal(one.model.sharp.psf, other.model.sharp.psf)


def test_validation_is_always_the_same_and_whole() -> None:
    images = [image(), image(seed=5)]
    first, again = (validation_bundles(images, 3, BundleRanges(holes=1.0, saturated=1.0)) for _ in range(2))
    assert len(first) == 4
    for one, other in zip(first, again, strict=True):
        assert bool((one["mask"] > 0).all())
        assert not one["stack"][:, :, 7].any()
        for name, value in one.items():
            assert torch.equal(value, other[name])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratios": (0.0, 0.0, 0.0)}, "3 shares"),
        ({"ratios": (1.0,)}, "3 shares"),
        ({"beyond": 1.5}, "beyond"),
        ({"sharp": (0.0, 2.0)}, "sharp"),
    ],
)
def test_ranges_that_nothing_has_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BundleRanges(**changes)  # type: ignore[arg-type]
