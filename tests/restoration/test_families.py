"""Every family of priors restores a scene, in one tile and in several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.priors.families import make_prior
from imaging.priors.zoo import save_prior
from tests.restoration.test_scenes import outputs
from tests.scenes import fit, read, smooth, write_scene

SIZES: dict[str, dict[str, object]] = {
    "vae": {"width": 16, "blocks": 1, "fine": 8},
    "factorized": {"channels": 1, "hidden": 8, "latents": 12},
    "mean-scale": {"channels": 1, "hidden": 8, "latents": 12},
    "mbt": {"channels": 1, "hidden": 8, "latents": 12, "replicated": True},
}


def literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("family", SIZES)
def test_families_restore_scenes_smoke(family: str, tmp_path: Path) -> None:
    if family != "vae":
        pytest.importorskip("compressai")
    torch.manual_seed(0)
    model = make_prior(family, dict(SIZES[family]))
    model.set_statistics(torch.from_numpy(smooth(4, 128, 128)[:, None] / 4095).float())
    settings = "\n".join(f"{k} = {literal(v)}" for k, v in model.settings.items())
    save_prior(model, tmp_path / "model", f'name = "x"\nfamily = "{family}"\n[model]\n{settings}\n')
    scene = write_scene(tmp_path / "scene.tif", smooth(1, 150, 90).astype(np.uint16))
    restored, std = outputs(fit(scene, tmp_path / "model", halo=16))
    assert restored.shape == std.shape == read(scene).shape
    assert restored.dtype == np.uint16
    assert np.isfinite(std).all()
    assert (std > 0).all()
    if family == "vae":  # starts as a transform, so that it restores something even untrained
        assert abs(restored.astype(float) - read(scene)).mean() < 60
