"""What is decided before the first tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.priors import load_prior
from imaging.restoration import RestoreOptions, ScenePaths, open_restoration
from tests.scenes import smooth, write_scene


@pytest.mark.parametrize(("side", "given", "scale"), [(160, None, 1), (160, 48, 1), (64, None, 1), (60, None, 2)])
def test_halo_covers_twice_the_reach_of_a_latent_and_the_psf(tmp_path: Path, tiny_prior: Path, side: int, given: int, scale: int) -> None:
    scene = write_scene(tmp_path / "scene.tif", smooth(1, side, side).astype(np.uint16))
    job = open_restoration(ScenePaths(input=scene), "pleiades-raw", RestoreOptions(prior=str(tiny_prior), tile=64, halo=given, scale=scale))
    job.scene.source.close()
    radius = job.bands[0].mtf.psf(scale).shape[0] // 2
    needed = 2 * (load_prior(str(tiny_prior)).receptive_field() + radius)
    if given is not None:
        assert job.plan.halo == given
    elif scale * side <= 64:
        assert job.plan.halo == 0
        assert len(job.plan.tiles()) == 1
    else:
        assert needed <= job.plan.halo < needed + 16
