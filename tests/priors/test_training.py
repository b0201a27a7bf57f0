"""Training: settings, crops, resuming, and which weights a step may touch."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imaging.errors import InputError
from imaging.priors.base import LatentPrior
from imaging.priors.families import make_prior
from imaging.priors.losses import random_widths, rate_distortion
from imaging.priors.training import Trainer
from imaging.releases import Table
from imaging.training import CropSampler, TrainingSettings, find_images, loop, read_image, statistics_batch, validation_images, write_pack
from tests.priors.models import tiny
from tests.scenes import smooth, write_scene


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A small colour image."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.moveaxis((smooth(3, 80, 96) / 16).astype(np.uint8), 0, 2)).save(path)
    return path


def trainer(path: Path, folder: Path, model: LatentPrior | None = None, **settings: float) -> Trainer:
    chosen = TrainingSettings(**{"minutes": 10, "batch": 1, "crop": 64, "warmup": 1} | settings)
    model = (model or tiny(trained=False)).train().requires_grad_(True)
    return Trainer(model, CropSampler([read_image(path)], chosen), torch.rand(2, 1, 64, 64), chosen, folder)


def test_unknown_training_setting_is_refused() -> None:
    assert Table({"training": {"gain": [0.5, 2.0]}}).under("training").make(TrainingSettings).gain == (0.5, 2.0)
    with pytest.raises(
        InputError, match=r"unknown key 'learning_rat' in \[training\]; did you mean learning_rate\? known are .*learning_rate"
    ):
        Table({"training": {"learning_rat": 1e-4}}).under("training").make(TrainingSettings)


@pytest.mark.parametrize(
    "table",
    [{"crop": 100}, {"crop": 0}, {"gain": [2.0, 0.5]}, {"gain": [0.0, 0.5]}, {"gain": [1.0]},
     {"exponent": [2.0, 0.5]}, {"narrowest": 0.0}, {"narrowest": 1.5}, {"shrink": 1.5}, {"steps": -1}, {"minutes": 0.0}, {"warmup": 0}],
)  # fmt: skip
def test_impossible_training_setting_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(table))}.* is .*; (it must be|accepted are)"):
        Table({"training": table}).under("training").make(TrainingSettings)


def test_images_are_read_band_first(tmp_path: Path) -> None:
    values = (smooth(4, 20, 24)).astype(np.uint16)
    assert np.array_equal(read_image(write_scene(tmp_path / "a.tif", values)), values)
    Image.fromarray(np.moveaxis((values[:3] // 16).astype(np.uint8), 0, 2)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), values[:3] // 16)
    Image.fromarray((values[0] // 16).astype(np.uint8)).save(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "b.png"), values[:1] // 16)


def test_panchromatic_crops_are_convex_mixtures_of_the_bands(tmp_path: Path) -> None:
    values = np.broadcast_to(np.array([500, 1000, 3000], dtype=np.uint16)[:, None, None], (3, 64, 64))
    path = write_scene(tmp_path / "flat.tif", values)
    sampler = CropSampler([read_image(path)], TrainingSettings(crop=32, gain=(1.0, 1.0)))
    rng = np.random.default_rng(0)
    crops = np.stack([sampler.crop(rng) for _ in range(300)])
    assert crops.shape == (300, 1, 32, 32)
    assert np.ptp(crops, axis=(1, 2, 3)).max() < 1e-6  # constant bands give constant mixtures
    assert crops.min() >= 500 / 4095
    assert crops.max() <= 3000 / 4095
    # A Dirichlet mixture is the mean on average; its deviation from 8 : 8 : 8 gives the standard error.
    assert crops[:, 0, 0, 0].mean() == pytest.approx(1500 / 4095, rel=0.05)
    assert crops[:, 0, 0, 0].std() > 0.02


def test_crops_keep_the_pixels_up_to_symmetry_and_gain(tmp_path: Path) -> None:
    values = (smooth(1, 32, 32) / 16).astype(np.uint8)
    Image.fromarray(values[0]).save(tmp_path / "one.png")
    sampler = CropSampler([read_image(tmp_path / "one.png")], TrainingSettings(crop=32, gain=(0.25, 1.2)))
    rng = np.random.default_rng(1)
    crops = [sampler.crop(rng)[0] for _ in range(400)]
    whole = values[0] / 255.0
    gains = np.array([c.mean() / whole.mean() for c in crops])
    assert gains.min() >= 0.25 - 1e-6
    assert gains.max() <= 1.2 + 1e-6
    # Log-uniform: the mean logarithm lies in the middle, to within four standard errors.
    assert np.log(gains).mean() == pytest.approx((np.log(0.25) + np.log(1.2)) / 2, abs=4 * np.log(1.2 / 0.25) / np.sqrt(12 * 400))
    symmetric = [np.rot90(m, k) for m in (whole, whole[:, ::-1]) for k in range(4)]
    seen = [next(k for k, s in enumerate(symmetric) if np.allclose(c, s * g, atol=1e-5)) for c, g in zip(crops, gains, strict=True)]
    assert set(seen) == set(range(8))


def test_tone_curves_keep_black_white_and_order(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    sampler = CropSampler([read_image(tmp_path / "ramp.png")], TrainingSettings(crop=32, gain=(1.0, 1.0), exponent=(0.5, 2.0)))
    rng = np.random.default_rng(3)
    whole = np.sort(ramp.ravel() / 255.0)
    curved = [np.sort(sampler.crop(rng).ravel()) for _ in range(200)]
    middle = slice(300, 900)
    exponents = np.array([np.mean(np.log(c[middle]) / np.log(whole[middle])) for c in curved])
    for c, e in zip(curved, exponents, strict=True):
        np.testing.assert_allclose(c, whole**e, atol=1e-5)
    changed = exponents[np.abs(exponents - 1) > 1e-4]
    assert len(changed) == pytest.approx(100, abs=4 * np.sqrt(50))
    assert changed.min() >= 0.5 - 1e-4
    assert changed.max() <= 2 + 1e-4
    assert np.log(changed).mean() == pytest.approx(0, abs=4 * np.log(4) / np.sqrt(12 * len(changed)))


def test_images_are_drawn_by_area(tmp_path: Path) -> None:
    for k, (height, width) in enumerate(((32, 32), (96, 32))):
        write_scene(tmp_path / f"{k}.tif", np.full((1, height, width), 1000 * (k + 1), dtype=np.uint16))
    sampler = CropSampler(find_images([tmp_path], ["*.tif"]), TrainingSettings(crop=32, gain=(1.0, 1.0)))
    rng = np.random.default_rng(2)
    large = np.mean([sampler.crop(rng).max() > 0.4 for _ in range(600)])
    assert large == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 600))


def test_unfit_images_are_named(photograph: Path) -> None:
    image = read_image(photograph)
    with pytest.raises(ValueError, match=r"an image of 96 x 80 pixels is smaller than the crop of 128 pixels"):
        CropSampler([image], TrainingSettings(crop=128))
    with pytest.raises(ValueError, match="an image has 3 bands; the model needs 4"):
        CropSampler([image], TrainingSettings(crop=64), channels=4)


def test_statistics_are_taken_from_the_same_crops_in_each_run(photograph: Path) -> None:
    sampler = CropSampler([read_image(photograph)], TrainingSettings(crop=32))
    first = statistics_batch(sampler, 3)
    assert first.shape == (3, 1, 32, 32)
    assert torch.equal(first, statistics_batch(sampler, 3))


def test_rate_distortion_of_the_untrained_model_is_that_of_uniform_noise() -> None:
    """A unit uniform error on each latent has the variance 1 / 12, which the inverse transform carries to the pixels."""
    model, x = tiny(trained=False), torch.from_numpy(smooth(4, 128, 128)[:, None] / 4095).float()
    torch.manual_seed(0)
    error, bits = rate_distortion(model, x)
    z, h = model.encode(x)
    carried = model.linear_variance(torch.full_like(z[:1], 1 / 12))[..., 8:-8, 8:-8].mean()
    assert float(error.detach()) == pytest.approx(float(carried), rel=0.03)
    assert float(carried) == pytest.approx(model.gamma**2, rel=0.2)  # gamma squared, were the transform orthonormal
    noisy = [-model.log_prob(z + torch.rand_like(z) - 0.5, h + torch.rand_like(h) - 0.5) for _ in range(8)]
    expected = torch.stack(noisy).mean() / (np.log(2) * 128 * 128)
    assert float(bits) == pytest.approx(float(expected), rel=0.02)


def test_narrower_latents_carry_less_error() -> None:
    """The error of an untrained model is that of its latents' noise, whose variance is the width squared over 12."""
    model, x = tiny(trained=False), torch.from_numpy(smooth(4, 128, 128)[:, None] / 4095).float()
    widths = torch.linspace(0.1, 1.0, 64)[None, :, None, None]
    torch.manual_seed(0)
    error, _ = rate_distortion(model, x, widths)
    carried = model.linear_variance((widths**2 / 12).expand_as(model.encode(x).z))[..., 8:-8, 8:-8].mean()
    assert float(error) == pytest.approx(float(carried), rel=0.03)


def test_random_widths_are_those_of_a_gaussian_mtf() -> None:
    model = tiny()
    torch.manual_seed(0)
    widths = random_widths(model, 500, 0.3)[..., 0, 0]
    assert widths.shape == (500, 64)
    assert widths.max() == 1
    assert widths[:, 0].min() >= 0.3 - 1e-6  # frequency zero passes whole
    logs = widths[:, 0].log()
    assert float(logs.mean()) == pytest.approx(np.log(0.3) / 2, abs=4 * abs(np.log(0.3)) / np.sqrt(12 * 500))
    # Where neither is cut off, the logarithms of two latents' widths differ in proportion to their squared frequencies.
    squares = model.squared_frequency()
    one, two = 4, 8
    free = (widths[:, one] < 1) & (widths[:, two] < 1)
    slopes = [(widths[free, k] / widths[free, 0]).log() / squares[k] for k in (one, two)]
    assert free.sum() > 50
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-3)
    nyquist = (-slopes[0]).exp()
    assert nyquist.min() >= 0.1 - 1e-4
    assert nyquist.max() <= 0.6 + 1e-4
    assert torch.equal(random_widths(model, 3, 1.0), torch.ones(3, 64, 1, 1))


def test_one_training_step_runs_smoke(photograph: Path, tmp_path: Path) -> None:
    run = trainer(photograph, tmp_path / "run")
    assert next(iter(run.run(lambda _: None))) == 1


def test_training_resumes_at_the_stored_step(photograph: Path, tmp_path: Path) -> None:
    first = trainer(photograph, tmp_path / "run")
    assert first.resume() is False
    assert list(itertools.islice(first.run(lambda _: None), 3)) == [1, 2, 3]
    first.save()
    second = trainer(photograph, tmp_path / "run")
    assert second.resume() is True
    assert second.step == 3
    assert second.elapsed == first.elapsed > 0
    for key, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value)
        assert torch.equal(second.average[key], first.average[key])
    moments = [s["exp_avg"] for s in first.optimizers[0].state_dict()["state"].values()]
    resumed = [s["exp_avg"] for s in second.optimizers[0].state_dict()["state"].values()]
    assert any(m.any() for m in moments)
    assert all(torch.equal(a, b) for a, b in zip(moments, resumed, strict=True))
    assert next(iter(second.run(lambda _: None))) == 4


def test_a_checkpoint_and_a_log_of_before_are_gone_on_with(photograph: Path, tmp_path: Path) -> None:
    """Earlier versions wrote one optimizer under its own name, without more, and other columns."""
    settings = {"steps": 6, "std_share": 0.5, "warmup": 2, "crop": 32}
    whole = trainer(photograph, tmp_path / "whole", **settings)
    list(whole.run(lambda _: None))
    for stop in (2, 5):  # before and after the decoder of standard deviations takes over
        part = trainer(photograph, tmp_path / str(stop), **settings)
        for _ in itertools.islice(part.run(lambda _: None), stop):
            pass
        state = part.state()
        (state["optimizer"],) = state.pop("optimizers")
        torch.save(state, tmp_path / str(stop) / "checkpoint.pt")
        (tmp_path / str(stop) / "log.csv").write_text("step,seconds,loss\n1,2,3\n")
        again = trainer(photograph, tmp_path / str(stop), **settings)
        assert again.resume()
        list(again.run(lambda _: None))
        for key, value in whole.average.items():
            assert torch.equal(again.average[key], value), key
        lines = (tmp_path / str(stop) / "log.csv").read_text().splitlines()
        assert [len(line.split(",")) for line in lines] == [3, 3, 3]
        assert lines[2].startswith("6,")


def test_an_interrupted_training_ends_as_an_uninterrupted_one(photograph: Path, tmp_path: Path) -> None:
    settings = {"steps": 8, "std_share": 0.25, "warmup": 2, "narrowest": 0.5, "shrink": 0.5, "crop": 32}
    whole = trainer(photograph, tmp_path / "whole", **settings)
    assert list(whole.run(lambda _: None)) == list(range(1, 9))
    for stops in (3, 4, 9):  # the second interruption falls into the decoder of standard deviations
        part = trainer(photograph, tmp_path / "parts", **settings)
        part.resume()
        for _ in itertools.islice(part.run(lambda _: None), stops):
            pass
        part.save()
    assert (whole.step, part.step, whole.std_stage, part.std_stage) == (8, 8, True, True)
    for key, value in whole.average.items():
        assert torch.equal(part.average[key], value), key


def test_shrunk_crops_are_means_of_four_pixels() -> None:
    values = (smooth(1, 64, 64) / 16).astype(np.uint8)
    rng = np.random.default_rng(0)
    sampler = CropSampler([values], TrainingSettings(crop=32, gain=(1.0, 1.0), shrink=1.0))
    means = values[0].reshape(32, 2, 32, 2).mean((1, 3)) / 255
    symmetric = [np.rot90(m, k) for m in (means, means[:, ::-1]) for k in range(4)]
    for _ in range(5):
        crop = sampler.crop(rng)[0]
        assert min(np.abs(crop - s).max() for s in symmetric) < 1e-6
    # An image too small to be shrunk is taken as it is.
    assert CropSampler([values[:, :40, :40]], TrainingSettings(crop=32, shrink=1.0)).crop(rng).shape == (1, 32, 32)


def test_a_pack_holds_the_images_it_was_made_of(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 4096, (3, 40, 40), dtype=np.uint16) for _ in range(3)]
    for k, image in enumerate(images):
        write_scene(tmp_path / "set" / f"{k}.tif", image)
    parts = write_pack(tmp_path, ["set/*.tif", "set/0.tif"], tmp_path / "pack.npz", 2 * 9000)
    assert [p.name for p in parts] == ["pack.npz", "pack-1.npz"]
    assert all(p.stat().st_size < 2 * 9000 for p in parts)
    found = find_images(parts, ["set/*.tif", "set/2.tif"])
    assert len(found) == 4
    for got, expected in zip(found, [*images, images[2]], strict=True):
        assert np.array_equal(got, expected)
    with pytest.raises(FileNotFoundError, match=r"no image matches other/\*"):
        find_images(parts, ["other/*"])


def test_validation_images_are_means_or_first_bands() -> None:
    image = np.stack([np.full((256, 256), v, dtype=np.uint8) for v in (0, 51, 102, 255)])
    assert torch.equal(validation_images([image, image[:, :100]], 1), torch.full((1, 1, 256, 256), 102 / 255))
    two = validation_images([image.astype(np.uint16) * 16], 2)
    torch.testing.assert_close(two[0, :, 0, 0], torch.tensor([0.0, 51 * 16 / 4095]))


def test_validation_images_are_missed_when_none_has_their_size() -> None:
    with pytest.raises(InputError, match="validation images must have 256 x 256 pixels; given are 100 x 256"):
        validation_images([np.zeros((3, 100, 256), np.uint8)], 3)


@pytest.mark.parametrize("family", ["mbt", "vae"])
def test_each_stage_of_other_families_lowers_its_loss(family: str, photograph: Path, tmp_path: Path) -> None:
    if family == "mbt":
        pytest.importorskip("compressai")
    torch.manual_seed(0)
    sizes = {"mbt": {"channels": 1, "hidden": 8, "latents": 12}, "vae": {"width": 16, "blocks": 1, "fine": 8}}
    model = make_prior(family, dict(sizes[family]))
    run = trainer(photograph, tmp_path, model, steps=60, std_share=0.5, learning_rate=2e-3, average=0.9)
    run.validation = statistics_batch(run.sampler, 4)
    model.set_statistics(run.validation)
    run.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    before = run._averaged()
    reports: list[dict[str, float]] = []
    list(run.run(reports.append))
    assert reports[-1]["objective"] < before["objective"]
    assert reports[-1]["std_nll"] < before["std_nll"]
    assert (tmp_path / "samples.png").exists()


def test_a_pause_does_not_count_as_training(photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(photograph, tmp_path / "run")
    clock = iter([0.0, 1.0, 3601.0, 3602.0, 3603.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    list(itertools.islice(run.run(lambda _: None), 3))
    assert run.elapsed == 1 + loop._LONGEST_STEP + 1


def test_stages_touch_only_their_own_weights(photograph: Path, tmp_path: Path) -> None:
    for share, expected in ((0.0, False), (1.0, True)):
        run = trainer(photograph, tmp_path / str(share), std_share=share)
        before = {k: v.clone() for k, v in run.model.named_parameters()}
        list(itertools.islice(run.run(lambda _: None), 3))
        changed = {k for k, v in run.model.named_parameters() if not torch.equal(v, before[k])}
        assert changed
        assert {k.startswith("std_decoder") for k in changed} == {expected}


def test_finished_training_reports_and_logs_each_figure(photograph: Path, tmp_path: Path) -> None:
    run, reports = trainer(photograph, tmp_path / "run", minutes=1e-6), []
    assert list(run.run(reports.append)) == [1]
    assert len(reports) == 1
    header, line = (tmp_path / "run" / "log.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), line.split(","), strict=True))
    assert float(logged["psnr"]) == pytest.approx(reports[0]["psnr"], rel=1e-4)
    assert logged["step"] == "1"
    # The objective is alpha times the squared error in grey levels plus the bits.
    error = 10 ** (-reports[0]["psnr"] / 10)
    assert reports[0]["objective"] == pytest.approx(0.18 * 255**2 * error + reports[0]["bits"], rel=1e-5)
