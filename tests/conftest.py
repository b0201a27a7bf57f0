"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.scenes import smooth


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a released prior with random weights, small enough for a fit to take milliseconds."""
    from imaging.priors.autoencoders import LappedAutoencoder
    from imaging.priors.zoo import save_prior

    torch.manual_seed(0)
    model = LappedAutoencoder(width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16)
    model.set_statistics(torch.from_numpy(smooth(4, 128, 128)[:, None] / 4095.0).float())
    folder = tmp_path_factory.mktemp("zoo") / "tiny"
    settings = "\n".join(f"{k} = {v}" for k, v in model.settings.items())
    save_prior(model, folder, f'name = "tiny"\ntitle = "random weights"\nfamily = "lapped"\n\n[model]\n{settings}\n')
    return folder
