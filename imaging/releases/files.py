"""Files of released models: weights with a recorded digest.

Libraries are imported late: the shell completes the models' names, and is not to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imaging.errors import InputError

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound="torch.nn.Module")
Measurements = Mapping[str, Mapping[str, Sequence[float]]]
"""Tables of a recipe, by name."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_digest(path: Path, recorded: str, says: str = "recipe") -> None:
    """Refuse a file that cannot be read, or is not the one whose digest was recorded."""
    try:
        digest = digest_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if digest != recorded:
        raise InputError(
            f"{path} is damaged: its SHA-256 starts with {digest[:12]}, the {says} says {recorded[:12] or 'none'}; fetch it again"
        )


def read_weights(folder: Path, recorded: str, name: str = "weights.safetensors") -> dict[str, torch.Tensor]:
    """Stored tensors of a file in a model folder, their digest checked against the recorded one; `InputError` where that cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / name
    if not recorded:
        raise InputError(f"{folder}/recipe.toml has no sha256 in [release]: {name}, which was not released, cannot be checked")
    check_digest(path, recorded)
    try:
        stored: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file") from error
    return stored


def check_state(wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse weights of which one is missing, unknown or of another shape; ``source`` names where they come from."""
    wrong = sorted(set(wanted) ^ set(state)) or sorted(k for k in wanted if wanted[k].shape != state[k].shape)
    if wrong:
        raise InputError(f"{source} does not fit its recipe: weight {wrong[0]} is missing, unknown or of another shape")


def full_precision(device: torch.device | str) -> None:
    """Switch TensorFloat-32 convolutions off for the process where the device is a GPU.

    They are PyTorch's default there and would leave errors of several grey levels of 4095 in the block transform, which is kept in float32
    for that reason; networks that may be less exact run in bfloat16 anyway.
    """
    import torch

    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def ready(model: M, device: torch.device | str) -> M:
    """Freeze a model for inference and put it on a device; see `full_precision`."""
    import torch

    full_precision(device)
    return model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def write_release(
    folder: Path, weights: dict[str, torch.Tensor], recipe: str, notes: dict[str, float | str], measured: Measurements | None = None
) -> str:  # fmt: skip
    """Write ``weights.safetensors`` and ``recipe.toml`` with their digest; returns the digest.

    Parameters
    ----------
    folder : Path
        Made if need be.
    weights : dict
        What is stored.
    recipe : str
        Text of the recipe; an earlier ``[release]`` table and what follows it is replaced.
    notes : dict
        Further keys of the ``[release]`` table, such as the compute given.
    measured : dict, optional
        Further tables, of lists of numbers, that are replaced likewise.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.safetensors"
    save_file(weights, path)
    digest = digest_of(path)
    lines = [f'sha256 = "{digest}"'] + [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in notes.items()]
    text = recipe.split("\n[release]")[0].rstrip()
    for name, table in (measured or {}).items():
        lines += ["", f"[{name}]"] + [f"{k} = [{', '.join(f'{v:.4g}' for v in values)}]" for k, values in table.items()]
    (folder / "recipe.toml").write_text(text + "\n\n[release]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return digest
