"""Released inference networks: saving, listing, choosing, and loading with a checked digest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imaging.amortised.network import InferenceNetwork, NetworkSettings
from imaging.errors import InputError, did_you_mean
from imaging.names import AMORTISED
from imaging.releases import (
    Measurements,
    ModelInfo,
    band_names,
    check_state,
    read_recipe,
    read_weights,
    released,
    write_release,
    zoo_folder,
)

DEFAULT_NETWORK = "pan-amortised"


class NetworkInfo(ModelInfo):
    """What a released inference network says of itself."""


def network_info(folder: Path) -> NetworkInfo:
    """Read a model folder's own description.

    Raises
    ------
    InputError
        When the folder holds no released inference network.
    """
    recipe = read_recipe(folder)
    release, model = recipe.get("release"), recipe.get("model")
    if recipe.get("family") != AMORTISED or not isinstance(model, dict) or not isinstance(release, dict) or "sha256" not in release:
        raise InputError(
            f"{folder} holds no released inference network: its family is {recipe.get('family')!r}, it should be {AMORTISED!r}"
        )
    channels = model.get("channels", 1)
    names = band_names(recipe, folder, channels)
    return NetworkInfo(str(recipe.get("name")), str(recipe.get("title", "")), channels, str(release["sha256"]), folder, names)


def list_networks() -> list[NetworkInfo]:
    """All released inference networks of the zoo, in the order of their names."""
    return [network_info(f) for f in released(zoo_folder(), (AMORTISED,))]


def choose_network(bands: Sequence[str | None]) -> str:
    """Name of the released network for bands of these common names: one of just them together, otherwise the default for each."""
    wanted = sorted(b or "" for b in bands)
    return next((n.name for n in list_networks() if n.bands and sorted(n.bands) == wanted), DEFAULT_NETWORK)


def find_network(name: str) -> NetworkInfo:
    """Look a network up by zoo name, or take a path to a model folder.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if Path(name).is_dir():
        return network_info(Path(name))
    known = {n.name: n for n in list_networks()}
    if name not in known:
        raise InputError(f"unknown inference network {name!r}; {did_you_mean(name, known)}, or a path to a model folder")
    return known[name]


def make_network(recipe: dict[str, Any]) -> InferenceNetwork:
    """The network of a recipe, with fresh weights.

    Raises
    ------
    InputError
        For a ``[model]`` that there is not.
    """
    try:
        table: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe["model"].items()}
        return InferenceNetwork(NetworkSettings(**table))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"no inference network can be built from [model] ({error})") from error


def load_network(name: str = DEFAULT_NETWORK, device: torch.device | str = "cpu") -> InferenceNetwork:
    """Load an inference network: frozen, in evaluation mode, its weight file checked against the recorded digest.

    Parameters
    ----------
    name : str
        Zoo name or model folder.
    device : torch.device or str
        Where to put it.

    Raises
    ------
    InputError
        Unknown name, damaged file, weights that do not fit.
    """
    info = find_network(name)
    recipe = read_recipe(info.folder)
    network = make_network(recipe)
    state = {k: v.float() for k, v in read_weights(info.folder, info.digest).items()}
    check_state(network.state_dict(), state, str(info.folder / "weights.safetensors"))
    network.load_state_dict(state)
    network.bands, network.factor = info.bands, _factor(recipe, info.folder)
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _factor(recipe: dict[str, Any], folder: Path) -> float:
    """On deviations, from a recipe's ``[calibration]``."""
    factor = recipe.get("calibration", {}).get("deviation", 1.0)
    if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise InputError(f"{folder}/recipe.toml: deviation in [calibration] is {factor!r}; it must be a number above 0")
    return float(factor)


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
        The table ``limits``, see `imaging.amortised.characterise`.
    """
    stored = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    return write_release(folder, stored, recipe, {"parameters": sum(p.numel() for p in network.parameters())} | (notes or {}), measured)
