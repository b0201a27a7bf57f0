"""Files that lie, and values that no sensor measures: one sentence, and nothing written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from imaging.amortised import AmortisedReconstructor, ImagePosterior
from imaging.errors import InputError
from imaging.restoration import RestoreOptions, plan_scene, restore_scene
from tests.scenes import listing, smooth, write_scene

NOISE = (2.0, 0.01)
BAD = -3.4e38


def restored(scene: Path, **options: Any) -> None:
    restore_scene(scene, "generic", options=RestoreOptions(**{"noise": NOISE} | options))


def plan(scene: Path) -> dict[str, Any]:
    return plan_scene(scene, "generic", options=RestoreOptions(noise=NOISE))


@pytest.mark.parametrize("bad", [BAD, 3e38])
@pytest.mark.parametrize("options", [{"method": "tv", "iterations": 3}, {"method": "amortised", "fallback": False}, {"iterations": 1}])
def test_values_that_no_sensor_measures_are_refused(tmp_path: Path, options: dict[str, Any], bad: float) -> None:
    """One pixel of a nodata value that nobody declared."""
    values = smooth(1, 64, 64).astype(np.float32)
    values[0, 20, 20] = bad
    scene = write_scene(tmp_path / "a.tif", values)
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"holds values such as .*, which no sensor measures: declare them as nodata"):
        restored(scene, **options)
    assert listing(tmp_path) == before
    with rasterio.open(scene, "r+") as target:
        target.nodata = bad
    restored(scene, **options)


@pytest.mark.parametrize("noise", [(1e300, 0.0), (float("nan"), 0.0), (1.0, float("inf")), (-1.0, 0.0)])
def test_noise_that_cannot_be_is_refused(tmp_path: Path, noise: tuple[float, float]) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 48, 48).astype(np.uint16))
    with pytest.raises(InputError, match=r"the noise is .*; accepted are"):
        restored(scene, noise=noise)


def test_a_pipe_is_no_scene(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(InputError, match="is neither a file nor a folder"):
        plan(tmp_path / "a.tif")


def test_a_loop_of_links_is_said(tmp_path: Path) -> None:
    for name, other in (("a.tif", "b.tif"), ("b.tif", "a.tif")):
        (tmp_path / name).symlink_to(tmp_path / other)
    with pytest.raises(InputError, match=r"a\.tif is a link that leads nowhere"):
        plan(tmp_path / "a.tif")


@pytest.mark.parametrize(("side", "bands"), [(3_000_000, 1), (1, 2000)])
def test_sizes_that_no_scene_has_are_refused_at_once(tmp_path: Path, side: int, bands: int) -> None:
    """Sparse files of a few kilobytes that claim terabytes."""
    path = tmp_path / "a.tif"
    settings = {"driver": "GTiff", "dtype": "uint8", "count": bands, "width": side, "height": side, "sparse_ok": True, "bigtiff": "YES"}
    if side > 1:
        settings |= {"tiled": True, "blockxsize": 32768, "blockysize": 32768}
    with rasterio.open(path, "w", **settings):
        pass
    with pytest.raises(InputError, match=r"says that it has .* accepted are up to 1e\+12 pixels and 1024 bands"):
        plan(path)


def test_planning_a_large_scene_takes_little_memory(tmp_path: Path) -> None:
    """A sparse file of 300 000 by 300 000 pixels: areas of the sample are found without a list of all."""
    import tracemalloc

    path = tmp_path / "a.tif"
    settings = {"driver": "GTiff", "dtype": "uint16", "count": 1, "width": 300_000, "height": 300_000, "sparse_ok": True, "bigtiff": "YES"}
    with rasterio.open(path, "w", tiled=True, blockxsize=16384, blockysize=16384, **settings):
        pass
    from imaging.raster import Scene

    tracemalloc.start()
    with Scene(path) as scene:
        assert len(scene.sample(256)) == 16
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_the_tag_that_masks_pixels_is_not_copied(tmp_path: Path) -> None:
    """GDAL masks by the tag NODATA_VALUES; the outputs have the mask itself."""
    values = smooth(3, 64, 64).astype(np.uint8)
    values[:, :8, :8] = 0
    scene = write_scene(tmp_path / "a.tif", values)
    with rasterio.open(scene, "r+") as target:
        target.update_tags(NODATA_VALUES="0 0 0", ACQUIRED="2020")
    with rasterio.open(scene) as source:
        assert (source.read_masks(1)[:8, :8] == 0).all()
    restored(scene, method="tv", iterations=3)
    with rasterio.open(tmp_path / "a_restored.tif") as written:
        assert "NODATA_VALUES" not in written.tags()
        assert written.tags()["ACQUIRED"] == "2020"
        masks = written.read_masks()
    assert (masks[:, :8, :8] == 0).all()
    assert (masks == 0).sum() == 3 * 64


@pytest.mark.parametrize("name", [f"{251 * 'a'}.tif", os.fsdecode(b"\xff.tif")])
def test_names_that_no_output_can_have_are_refused(tmp_path: Path, name: str) -> None:
    scene = write_scene(tmp_path / "a.tif", smooth(1, 48, 48).astype(np.uint16))
    with pytest.raises(InputError, match=r"the name .* is (too long|no text)"):
        restore_scene(scene, "generic", output=tmp_path / name, options=RestoreOptions(noise=NOISE))
    assert sorted(listing(tmp_path)) == ["a.tif"]


def test_results_that_are_not_finite_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of weights that are not finite, whose digest is right all the same."""
    scene = write_scene(tmp_path / "a.tif", smooth(1, 48, 48).astype(np.uint16))
    call = AmortisedReconstructor.fit

    def spoilt(self: AmortisedReconstructor, *arguments: Any, **more: Any) -> ImagePosterior:
        found = call(self, *arguments, **more)
        return replace(found, image=found.image * float("nan"))

    monkeypatch.setattr(AmortisedReconstructor, "fit", spoilt)
    with pytest.raises(InputError, match=r"what comes out is not finite, of measured values from .* to .*: declare"):
        restored(scene, method="amortised", fallback=False)
    assert sorted(listing(tmp_path)) == ["a.tif"]
