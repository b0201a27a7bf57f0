"""Released inference networks: saving, listing, choosing, and loading with a checked digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from imaging.amortised.network import InferenceNetwork, NetworkSettings
from imaging.releases import FUSION_ZOO, NETWORK_ZOO, Measurements, ModelInfo, Table, check_state, read_weights, ready, write_release

DEFAULT_NETWORK = "pan-amortised"


def list_networks() -> list[ModelInfo]:
    """All released inference networks of the zoo, in the order of their names."""
    return NETWORK_ZOO.models()


def choose_network(bands: Sequence[str | None]) -> str:
    """Name of the released network for bands of these common names: one of just them together, otherwise the default for each."""
    return NETWORK_ZOO.choose(bands, DEFAULT_NETWORK)


def find_network(name: str) -> ModelInfo:
    """Look a network up by zoo name, or take a path to a model folder; `InputError` for an unknown name."""
    return NETWORK_ZOO.find(name)


def choose_fusion(bands: Sequence[str | None]) -> str | None:
    """Name of the released network that fuses bands of these common names with a panchromatic one; None where there is none."""
    return FUSION_ZOO.choose(bands, "") or None


def find_fusion(name: str) -> ModelInfo:
    """Look a network of bundles up by zoo name, or take a path to a model folder; `InputError` for an unknown name."""
    return FUSION_ZOO.find(name)


def make_network(recipe: Table) -> InferenceNetwork:
    """The network of a recipe, with fresh weights; `InputError` for a ``[model]`` that there is not."""
    return InferenceNetwork(recipe.under("model").make(NetworkSettings, sizes=True))


def load_network(name: str | ModelInfo = DEFAULT_NETWORK, device: torch.device | str = "cpu") -> InferenceNetwork:
    """Load an inference network: frozen, in evaluation mode, its weight file checked against the recorded digest.

    Parameters
    ----------
    name : str or ModelInfo
        Zoo name or model folder, or what was found.
    device : torch.device or str
        Where to put it.

    Raises
    ------
    InputError
        Unknown name, damaged file, weights that do not fit.
    """
    info = NETWORK_ZOO.find(name)
    network = make_network(info.recipe)
    state = {k: v.float() for k, v in read_weights(info.folder, info.digest).items()}
    check_state(network.state_dict(), state, str(info.folder / "weights.safetensors"))
    network.load_state_dict(state)
    network.bands, network.factor = info.bands, info.recipe.under("calibration").number("deviation", 1.0, 1e-6, 1e6)
    return ready(network, device)


def save_network(
    network: InferenceNetwork, folder: Path, recipe: str, notes: dict[str, float | str] | None = None, measured: Measurements | None = None
) -> str:  # fmt: skip
    """Release a network: weights in 16 bits and the recipe with their digest; returns the digest.

    Parameters
    ----------
    network : InferenceNetwork
        With the weights to release.
    folder : Path
        Receives ``weights.safetensors`` and ``recipe.toml``.
    recipe : str
        Text of the recipe; an earlier ``[release]`` table at its end is replaced.
    notes : dict, optional
        More keys for the ``[release]`` table, such as the compute given.
    measured : dict, optional
        The table ``limits``, see `imaging.amortised.limits`.
    """
    stored = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    return write_release(folder, stored, recipe, {"parameters": sum(p.numel() for p in network.parameters())} | (notes or {}), measured)
