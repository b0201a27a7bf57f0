"""Small priors with weights that are alive everywhere."""

from __future__ import annotations

import torch

from imaging.priors.autoencoders import LappedAutoencoder


def tiny(channels: int = 1, *, trained: bool = True, seed: int = 0) -> LappedAutoencoder:
    """A prior of a few thousand weights; with ``trained`` the corrections that start at zero are random."""
    torch.manual_seed(seed)
    model = LappedAutoencoder(channels, width=16, blocks=1, fine=8, fine_blocks=1, hyper=8, hidden=16, context_blocks=1)
    if trained:
        enliven(model)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def enliven(model: torch.nn.Module) -> None:
    """Make the corrections that start at zero random."""
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)
