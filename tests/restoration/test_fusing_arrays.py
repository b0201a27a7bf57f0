"""Bundles in memory, by any method, and what is known of one before it is fused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from imaging.amortised import InferenceNetwork, NetworkSettings
from imaging.errors import InputError
from imaging.fusion import IMAGES, MAPS, bundle_physics
from imaging.posterior import FitSettings
from imaging.raster import Area
from imaging.restoration import FuseOptions, fuse, fuse_arrays, fusion_methods
from imaging.restoration.bundle import Pieces, make_stack
from imaging.restoration.file_bundle import sampled
from imaging.restoration.fusion_fit import FitFusion
from imaging.restoration.fusion_methods import FusionMethod, NetworkFusion
from imaging.sensors import Mtf
from tests.priors.models import tiny as tiny_prior
from tests.restoration.bundles import FULL, PROFILE, WEIGHTS, Bundle, rmse

GAUSSIAN = FuseOptions(method="gaussian")
Stored = NDArray[np.float64]


def arrays(bundle: Bundle) -> tuple[Stored, NDArray[np.uint16], NDArray[np.uint16]]:
    """Truth, multispectral and panchromatic stored values."""
    truth, pan, ms = bundle.measured()
    return truth, ms.round().astype(np.uint16), pan.round().astype(np.uint16)


def test_arrays_are_fused_like_files(tmp_path: Path) -> None:
    bundle = Bundle()
    truth, ms, pan = arrays(bundle)
    found = fuse(ms, pan[0], PROFILE, options=replace(GAUSSIAN, samples=2))
    assert found.samples.shape == (2, *truth.shape)
    _, fused, std = bundle.write(tmp_path).fuse()
    np.testing.assert_allclose(found.restored, fused, atol=1.01)  # files hold whole numbers
    np.testing.assert_allclose(found.std, std, rtol=1e-4)
    some = fuse(ms, pan, PROFILE, options=replace(GAUSSIAN, bands=(1, 2, 3, 4), pan_shift="none"))
    assert rmse(some.restored, truth) < 25


def test_masks_of_arrays_count(tmp_path: Path) -> None:
    truth, ms, pan = arrays(Bundle())
    mask, pan_mask = np.ones((40, 40), bool), np.ones((160, 160), bool)
    mask[5:8, 5:8], pan_mask[100:110, 90:95] = False, False
    spoilt = np.where(mask, ms, 4000).astype(np.uint16), np.where(pan_mask, pan, 7).astype(np.uint16)
    found = fuse(*spoilt, PROFILE, mask=mask, pan_mask=pan_mask, options=GAUSSIAN)
    expected = ~(np.repeat(np.repeat(mask, 4, 0), 4, 1) & pan_mask)
    np.testing.assert_array_equal(np.isnan(found.restored), np.broadcast_to(expected, truth.shape))
    np.testing.assert_array_equal(np.isnan(found.restored), np.isnan(found.std))
    assert rmse(found.restored, truth) < 25


def test_nothing_in_common_is_refused_for_arrays() -> None:
    _, ms, pan = arrays(Bundle())
    mask = np.zeros((40, 40), bool)
    mask[:20] = True
    pan_mask = ~np.repeat(np.repeat(mask, 4, 0), 4, 1)
    with pytest.raises(InputError, match="no valid pixel in common"):
        fuse(ms, pan, PROFILE, mask=mask, pan_mask=pan_mask, options=GAUSSIAN)


def test_statistics_come_from_places_all_over_the_scene() -> None:
    areas = [Area(128 * k, 0, 128, 128) for k in range(31)]

    def here(area: Area, only: int | None = None) -> Pieces:
        valid = np.full((1, 4, 4), only is None or area.row == 128 * only)
        return Pieces(valid.astype(np.float32), valid, valid.astype(np.float32), valid)

    rows = [a.row // 128 for a, _ in sampled(areas, here)]
    assert len(rows) == 16
    assert rows[0] <= 1
    assert rows[-1] >= 29
    assert max(np.diff(rows)) <= 2
    for only in (0, 5, 30):
        assert [a.row // 128 for a, _ in sampled(areas, lambda a, only=only: here(a, only))] == [only]
    assert sampled(areas, lambda a: here(a, -1)) == []


def network(size: float = 0.02) -> NetworkFusion:
    """A tiny one whose changes are random, of about this size."""
    torch.manual_seed(0)
    made = InferenceNetwork(NetworkSettings(channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), images=IMAGES, maps=MAPS))
    torch.nn.init.normal_(made.change.weight, std=size)
    return NetworkFusion(made.eval().requires_grad_(False))


def fit() -> FitFusion:
    return FitFusion(tiny_prior(4), FitSettings(iterations=1, samples=2, rate_ratio=0.8))


@pytest.mark.parametrize("make", [network, fit])
def test_windows_of_any_size_are_fused_by_any_method(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """Random weights: sizes, units and samples are right, no more; sizes that no lattice has."""
    method: FusionMethod = make()
    monkeypatch.setattr(fuse_arrays, "choose_fusion_method", lambda *_: (method, []))
    truth, ms, pan = arrays(Bundle())
    found = fuse(ms[:, :23, :21], pan[:, :92, :84], PROFILE, options=replace(GAUSSIAN, samples=2))
    assert found.restored.shape == found.std.shape == (4, 92, 84)
    assert found.samples.shape == (2, 4, 92, 84)
    assert np.isfinite(found.samples).all()
    assert bool((found.std > 0).all())
    assert float(np.abs(found.restored.mean((1, 2)) - truth[:, :92, :84].mean((1, 2))).max()) < 30
    error = (found.samples - found.restored) / found.std
    assert 0.3 < float(np.sqrt((error**2).mean())) < 2


def test_what_the_network_makes_has_the_means_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by the coarse sensor, over squares of some of its pixels, whatever the network's weights are."""
    method, bundle = network(1.0), Bundle()
    monkeypatch.setattr(fuse_arrays, "choose_fusion_method", lambda *_: (method, []))
    _, ms, pan = arrays(bundle)
    physics = bundle_physics(PROFILE.bands[:1], PROFILE.bands[1:], torch.tensor([WEIGHTS]), FULL, 4, margin=32)

    def lacking() -> float:
        found = torch.from_numpy(fuse(ms, pan, PROFILE, options=GAUSSIAN).restored)[None]
        missing = torch.from_numpy(ms[None, :, 8:-8, 8:-8].astype(float)) - physics.A(found / FULL)[1] * FULL
        return float(torch.nn.functional.avg_pool2d(missing, 8).square().mean().sqrt())

    consistent = lacking()
    monkeypatch.setattr(fusion_methods, "_consistent", lambda image, *_: image)
    assert consistent < 0.2 * lacking()


def test_arrays_that_do_not_fit_are_refused() -> None:
    _, ms, pan = arrays(Bundle())
    with pytest.raises(InputError, match="have one type and unit"):
        fuse(ms, pan.astype(np.float32), PROFILE, options=GAUSSIAN)
    with pytest.raises(InputError, match="one whole ratio r from 2 to 6"):
        fuse(ms, pan[:, :159], PROFILE, options=GAUSSIAN)


def test_weights_are_of_one_sharp_band() -> None:
    _, ms, pan = arrays(Bundle())
    sharp, coarse = np.repeat(pan, 2, 0).astype(np.float32), ms.astype(np.float32)
    whole = Pieces(sharp, np.ones(sharp.shape, bool), coarse, np.ones(coarse.shape, bool))
    bands = (
        replace(PROFILE.bands[0], name="P1"),
        replace(PROFILE.bands[0], name="P2", mtf=Mtf("gaussian", (0.2, 0.2))),
        *PROFILE.bands[1:],
    )
    known = fuse_arrays.ArrayBundle(whole, (pan.dtype, ms.dtype))
    profile, device = replace(PROFILE, bands=bands), torch.device("cpu")
    stack, _ = make_stack(known, profile, GAUSSIAN, device)
    assert stack.statistics.weights.shape == (2, 4)
    with pytest.raises(InputError, match="of one panchromatic band, here 2 bands are sharp"):
        make_stack(known, profile, replace(GAUSSIAN, pan_weights=WEIGHTS), device)
