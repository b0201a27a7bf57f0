"""Released priors: saving, listing, and loading with a checked digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from imaging.errors import InputError
from imaging.names import COMPRESSAI
from imaging.priors import compressai_zoo
from imaging.priors.base import LatentPrior
from imaging.priors.calibration import read_guarantee, read_latent_variance
from imaging.priors.families import prior_of
from imaging.priors.importing import convert, read_checkpoint
from imaging.priors.networks import GroupCausalConv2d
from imaging.priors.state import fill, is_constant, packed, unpacked, weights
from imaging.releases import PRIOR_ZOO, ModelInfo, digest_of, read_weights, ready, write_release

DEFAULT_PRIOR = "pan"


def list_priors() -> list[ModelInfo]:
    """All released priors of the zoo, in the order of their names.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return PRIOR_ZOO.models()


def choose_prior(bands: Sequence[str | None]) -> str:
    """Name of the released prior for bands of these common names: one of just them together, otherwise the default for each."""
    return PRIOR_ZOO.choose(bands, DEFAULT_PRIOR)


def find_prior(name: str, *, download: bool = False) -> ModelInfo:
    """Look a prior up by zoo name, take a path to a model folder, or a model of compressai's zoo, ``compressai:ARCHITECTURE-QUALITY``.

    With ``download`` a model of compressai's zoo may be fetched. `InputError` for an unknown name.
    """
    if name.startswith(COMPRESSAI):
        path, _ = compressai_zoo.cached_file(name, download=download)
        return ModelInfo(name, "of compressai's zoo", "compressai", 3, digest_of(path), path.parent)
    return PRIOR_ZOO.find(name)


def load_prior(name: str = DEFAULT_PRIOR, device: torch.device | str = "cpu", *, download: bool = False) -> LatentPrior:
    """Load a prior for inference: frozen, in evaluation mode, its weight file checked against the recorded digest.

    Parameters
    ----------
    name : str
        Zoo name or model folder.
    device : torch.device or str
        Where to put it.
    download : bool
        Whether a model of compressai's zoo may be fetched.

    Raises
    ------
    InputError
        Unknown name, damaged file, wrong shapes, missing or extra weights.
    """
    if name.startswith(COMPRESSAI):
        path, alpha = compressai_zoo.cached_file(name, download=download)
        return ready(convert(read_checkpoint(path), name, alpha=alpha).model, device)
    info = PRIOR_ZOO.find(name)
    state = {k: v for k, v in unpacked(read_weights(info.folder, info.digest)).items() if not is_constant(k)}
    model = prior_of(info.recipe)
    fill(model, state, str(info.folder / "weights.safetensors"))
    model.bands = info.bands
    model.latent_variance, model.guarantee = read_latent_variance(info.recipe), read_guarantee(info.recipe)
    return ready(model, device)


def start_from(model: LatentPrior, folder: Path) -> None:
    """Give a freshly made model a released one's weights, a smaller one's where both are ``lapped``; `InputError` for others."""
    from imaging.priors.autoencoders import LappedAutoencoder
    from imaging.priors.growing import grow, misfit

    released = load_prior(str(folder))
    if isinstance(model, LappedAutoencoder) and isinstance(released, LappedAutoencoder):
        reason = misfit(model, released)
        if reason:
            raise InputError(f"a training cannot start from {folder}: {reason}")
        grow(model, released)
    else:
        fill(model, weights(released), f"the recipe's [model] as a start from {folder}: it")


def save_prior(model: LatentPrior, folder: Path, recipe: str, notes: dict[str, float | str] | None = None, *, small: bool = True) -> str:
    """Release a model: weights in 16 and 8 bits (float32 without ``small``) and the recipe with their digest; returns the digest.

    The folder receives ``weights.safetensors``, rounded as `packed` says, and ``recipe.toml``: the text of the recipe, an earlier
    ``[release]`` table at its end replaced by one that also holds the notes, such as the compute given.
    """
    for module in model.modules():
        if isinstance(module, GroupCausalConv2d):  # what the mask hides is noise that cannot be compressed
            module.weight.data *= module.mask
    stored = packed(weights(model)) if small else {k: v.float().contiguous() for k, v in weights(model).items()}
    return write_release(folder, stored, recipe, {"parameters": sum(p.numel() for p in model.parameters())} | (notes or {}))
