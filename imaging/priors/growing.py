"""Starting a larger lapped autoencoder from a smaller one that has been trained: wider, deeper, or of more bands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imaging.priors.autoencoders import LappedAutoencoder

_SIZES = ("width", "blocks", "fine", "fine_blocks", "hyper", "hidden", "context_blocks")


def _place(own: nn.Conv2d, given: nn.Conv2d, outputs: Tensor | None = None, inputs: Tensor | None = None) -> None:
    """Make a layer act as a smaller one on its channels ``outputs`` and ``inputs`` (by default the first).

    Those outputs do not see the other inputs; the other outputs keep their initialisation.
    """
    rows = torch.arange(given.out_channels) if outputs is None else outputs
    columns = torch.arange(given.in_channels) if inputs is None else inputs
    own.weight[rows] = 0
    own.weight[rows[:, None], columns[None]] = given.weight
    if own.bias is not None and given.bias is not None:
        own.bias[rows] = given.bias


def _place_block(own: nn.Module, given: nn.Module, positions: Tensor | None = None) -> None:
    """`_place` for both layers of a residual block."""
    for name in ("first", "second"):
        _place(getattr(own, name), getattr(given, name), positions, positions)


def _stages(refiner: nn.Sequential) -> tuple[nn.Conv2d, list[nn.Module], nn.Conv2d, list[nn.Module], nn.Conv2d]:
    """First layer, blocks at 1/8 resolution, layer between, blocks at 1/4 resolution and last layer of a `refiner`."""
    layers = list(refiner)
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    first, middle, last = (layers[i] for i in convolutions)
    coarse, fine = layers[1 : convolutions[1]], layers[convolutions[1] + 2 : convolutions[2]]
    return first, coarse, middle, fine, last  # type: ignore[return-value]


def _grow_refiner(own: nn.Sequential, given: nn.Sequential, latents: Tensor, shares: Tensor) -> None:
    """Start a refiner from a smaller one whose one image channel goes to each band of the larger one with a share."""
    ours, theirs = _stages(own), _stages(given)
    _place(ours[0], theirs[0], None, latents)
    _place(ours[2], theirs[2])
    for k in (1, 3):
        for mine, other in zip(ours[k], theirs[k], strict=False):  # type: ignore[arg-type]
            _place_block(mine, other)
    last, smaller = ours[4], theirs[4]
    last.weight.zero_()
    last.weight[:, : smaller.in_channels] = torch.cat([s * smaller.weight for s in shares])
    last.bias.copy_(torch.cat([s * smaller.bias for s in shares]))  # type: ignore[operator,union-attr]


def _hidden_positions(own: LappedAutoencoder, given: LappedAutoencoder) -> Tensor:
    """Where the hidden channels of the smaller context model go: into the group of the same frequencies, first component."""
    factor = (max(own.hidden_groups) + 1) // (max(given.hidden_groups) + 1)
    taken: dict[int, int] = {}
    positions = []
    for group in given.hidden_groups:
        rank = taken.get(group, 0)
        taken[group] = rank + 1
        positions.append(own.hidden_groups.index(factor * group) + rank)
    return torch.tensor(positions)


def misfit(own: LappedAutoencoder, given: LappedAutoencoder) -> str | None:
    """Why a model cannot start from another one, or None."""
    if given.channels not in (1, own.channels):
        return f"it has {given.channels} channels"
    small = [n for n in _SIZES if own.settings[n] < given.settings[n]]
    if small:
        return f"its {small[0]} is {given.settings[small[0]]}, larger than {own.settings[small[0]]}"
    if own.gamma != given.gamma:
        return "its alpha per channel differs"
    sizes = [[g.count(k) for k in sorted(set(g))] for g in (own.hidden_groups, given.hidden_groups)]
    if sizes[0][0] < sizes[1][0]:
        return f"its context model has {sizes[1][0]} channels a group, this one {sizes[0][0]}"
    return None


@torch.no_grad()
def grow(own: LappedAutoencoder, given: LappedAutoencoder) -> None:
    """Give a model the weights of a smaller one, so that it acts like it at first (Chen, Goodfellow and Shlens 2016).

    A model of several bands treats the first component of its mixture of bands as the model of one band treats its image; the other
    components start as transform coefficients whose densities are yet to be learned. ``own``, freshly made with its statistics set, is
    changed in place; ``given`` is trained, has one channel or as many as ``own``, and is no larger in any setting, see `misfit`.
    """
    c, n = own.channels, given.latents
    joint = c != given.channels
    latents = (c if joint else 1) * torch.arange(n)
    if joint:
        own.anchor(own.mixture, (given.analysis.weight, given.synthesis.weight))
    else:
        own.analysis.weight.copy_(given.analysis.weight)
        own.synthesis.weight.copy_(given.synthesis.weight)
    own.z_scale[:, latents], own.z_mean[:, latents] = given.z_scale, given.z_mean
    encoder, smaller = own.encoder, given.encoder
    _place(encoder[0], smaller[0], None, latents)  # type: ignore[arg-type]
    for k in (1, 2):
        _place_block(encoder[k], smaller[k])
    _place(encoder[3], smaller[3], latents)  # type: ignore[arg-type]
    shares = own.mixture[0] if joint else torch.ones(1)
    _grow_refiner(own.decoder, given.decoder, latents, shares)
    _grow_refiner(own.std_decoder, given.std_decoder, latents, torch.ones_like(shares))  # type: ignore[arg-type]
    hidden = _hidden_positions(own, given)
    for k, layer in enumerate(given.hyper_encoder):
        if isinstance(layer, nn.Conv2d):
            _place(own.hyper_encoder[k], layer, None, latents if k == 0 else None)  # type: ignore[arg-type]
    last = len(given.hyper_decoder) - 1
    for k, layer in enumerate(given.hyper_decoder):
        if isinstance(layer, nn.Conv2d):
            _place(own.hyper_decoder[k], layer, hidden if k == last else None)  # type: ignore[arg-type]
    below = given.channels
    seen = torch.cat([torch.arange(below), c + latents]) if joint else torch.arange(below + n)
    _place(own.context, given.context, hidden, seen)
    _place(own.mixing, given.mixing, hidden, hidden)
    for mine, other in zip(own.refining, given.refining, strict=False):
        _place_block(mine, other, hidden)
    _place(own.head, given.head, torch.cat([latents, own.latents + latents]), hidden)
    rows = given.settings["hyper"]
    for weights, given_weights in zip(own.bottleneck.parameters(), given.bottleneck.parameters(), strict=True):
        weights[:rows] = given_weights
