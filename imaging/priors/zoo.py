"""Released priors: saving, listing, and loading with a checked digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from imaging.errors import InputError, did_you_mean
from imaging.priors import compressai_zoo
from imaging.priors.base import LatentPrior
from imaging.priors.calibration import read_calibration, read_guarantee
from imaging.priors.context import GroupCausalConv2d
from imaging.priors.families import FAMILIES, make_prior
from imaging.priors.importing import convert, read_checkpoint
from imaging.priors.packing import packed, unpacked
from imaging.priors.state import fill, is_constant, weights
from imaging.releases import ModelInfo, band_names, digest_of, read_recipe, read_weights, released, write_release, zoo_folder

DEFAULT_PRIOR = "pan"


class PriorInfo(ModelInfo):
    """What a released prior says of itself: ``name``, ``title``, ``channels``, ``digest``, ``folder`` and ``bands``; see `ModelInfo`."""


def prior_info(folder: Path) -> PriorInfo:
    """Read a model folder's own description.

    Raises
    ------
    InputError
        When the folder holds no released model.
    """
    recipe = read_recipe(folder)
    release = recipe.get("release")
    if not isinstance(release, dict) or "sha256" not in release:
        raise InputError(f"{folder}/recipe.toml has no [release] sha256: the model has not been released by scripts/train/prior.py")
    model = recipe.get("model")
    if not isinstance(recipe.get("name"), str) or not isinstance(model, dict) or not isinstance(model.get("channels"), int):
        raise InputError(f"{folder}/recipe.toml lacks a name or the number of channels in [model]")
    bands = band_names(recipe, folder, model["channels"])
    return PriorInfo(recipe["name"], str(recipe.get("title", "")), model["channels"], str(release["sha256"]), folder, bands)


def list_priors() -> list[PriorInfo]:
    """All released priors of the zoo, in the order of their names.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return [prior_info(f) for f in released(zoo_folder(), FAMILIES)]


def choose_prior(bands: Sequence[str | None]) -> str:
    """Name of the released prior for bands of these common names: one of just them together, otherwise the default for each."""
    wanted = sorted(b or "" for b in bands)
    return next((p.name for p in list_priors() if p.bands and sorted(p.bands) == wanted), DEFAULT_PRIOR)


def find_prior(name: str, *, download: bool = False) -> PriorInfo:
    """Look a prior up by zoo name, take a path to a model folder, or a model of compressai's zoo, ``compressai:ARCHITECTURE-QUALITY``.

    Parameters
    ----------
    name : str
        What a user calls it.
    download : bool
        Whether a model of compressai's zoo may be fetched.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name.startswith(compressai_zoo.PREFIX):
        path, _ = compressai_zoo.cached_file(name, download=download)
        return PriorInfo(name, "of compressai's zoo", 3, digest_of(path), path.parent)
    if Path(name).is_dir():
        return prior_info(Path(name))
    known = {p.name: p for p in list_priors()}
    if name not in known:
        raise InputError(f"unknown prior {name!r}; {did_you_mean(name, known)}, a path to a model folder, or compressai:NAME-QUALITY")
    return known[name]


def _from_compressai(name: str, download: bool) -> LatentPrior:
    path, alpha = compressai_zoo.cached_file(name, download=download)
    return convert(read_checkpoint(path), name, alpha=alpha).model


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
    if name.startswith(compressai_zoo.PREFIX):
        return ready(_from_compressai(name, download), device)
    info = find_prior(name)
    recipe = read_recipe(info.folder)
    family = str(recipe.get("family"))
    if family not in FAMILIES:
        raise InputError(f"{info.folder}/recipe.toml: family is {recipe.get('family')!r}; accepted are {', '.join(FAMILIES)}")
    stored = read_weights(info.folder, info.digest)
    state = {k: v for k, v in unpacked(stored).items() if not is_constant(k)}
    try:
        model = make_prior(family, recipe["model"])
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"{info.folder}/recipe.toml: no model can be built from [model] ({error})") from error
    fill(model, state, str(info.folder / "weights.safetensors"))
    model.bands = info.bands
    model.calibration, model.guarantee = read_calibration(recipe, info.folder), read_guarantee(recipe, info.folder)
    return ready(model, device)


def full_precision(device: torch.device | str) -> None:
    """Switch TensorFloat-32 convolutions off for the process where the device is a GPU.

    They are PyTorch's default there and would leave errors of several grey levels of 4095 in the block transform, which is kept in float32
    for that reason; the networks run in bfloat16 anyway.
    """
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def ready(model: LatentPrior, device: torch.device | str) -> LatentPrior:
    """Freeze a model for inference and put it on a device; see `full_precision`."""
    full_precision(device)
    return model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def start_from(model: LatentPrior, folder: Path) -> None:
    """Give a freshly made model a released one's weights, that of a smaller one where both are of the family ``lapped``.

    Raises
    ------
    InputError
        When the released model is not one that this model can start from.
    """
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

    Parameters
    ----------
    model : LatentPrior
        With the weights to release.
    folder : Path
        Receives ``weights.safetensors`` and ``recipe.toml``.
    recipe : str
        Text of the recipe; an earlier ``[release]`` table at its end is replaced.
    notes : dict, optional
        More keys for the ``[release]`` table, such as the compute given.
    small : bool
        Whether weights are rounded, see `packed`.
    """
    for module in model.modules():
        if isinstance(module, GroupCausalConv2d):  # what the mask hides is noise that cannot be compressed
            module.weight.data *= module.mask
    stored = packed(weights(model)) if small else {k: v.float().contiguous() for k, v in weights(model).items()}
    return write_release(folder, stored, recipe, {"parameters": sum(p.numel() for p in model.parameters())} | (notes or {}))
