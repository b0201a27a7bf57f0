"""Released models: one folder each, of weights and of the recipe that made them, with a recorded digest.

Their libraries are imported late: the shell completes the models' names, and is not to wait.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import InputError

if TYPE_CHECKING:
    import torch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Measurements = Mapping[str, Mapping[str, Sequence[float]]]
"""Tables of a recipe, by name."""


@dataclass(frozen=True)
class ModelInfo:
    """What a released model says of itself.

    Attributes
    ----------
    name, title : str
        What users call it, and one line for lists.
    channels : int
        Of its images: bands that it takes together.
    digest : str
        SHA-256 of its weights' file.
    folder : Path
        Where it is.
    bands : tuple of str
        Common names of its channels, such as ``red``; empty where it serves any.
    """

    name: str
    title: str
    channels: int
    digest: str
    folder: Path
    bands: tuple[str, ...] = ()


def band_names(recipe: dict[str, Any], folder: Path, channels: int) -> tuple[str, ...]:
    """Common names of a model's channels, from its recipe; none where it serves any.

    Raises
    ------
    InputError
        For another number of names.
    """
    bands = recipe.get("bands", [])
    if not isinstance(bands, list) or not all(isinstance(b, str) for b in bands) or len(bands) not in {0, channels}:
        raise InputError(f"{folder}/recipe.toml: bands is {bands!r}; accepted are as many common names as the model has channels")
    return tuple(bands)


def zoo_folder() -> Path:
    """Folder of the released models: inside an installation, or beside the package in a checkout."""
    package = Path(str(resources.files("imaging")))
    for candidate in (package / "models", package.parent / "models"):
        if candidate.is_dir():
            return candidate
    raise InputError("no model zoo is installed; give a model folder instead of a name")


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_recipe(folder: Path) -> dict[str, Any]:
    """Recipe of a model folder.

    Raises
    ------
    InputError
        When there is none.
    """
    try:
        return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{folder} is not a model folder: its recipe.toml cannot be read") from error


def released(zoo: Path, families: Collection[str]) -> list[Path]:
    """Folders of the released models of some families, by name."""
    folders = [p.parent for p in sorted(zoo.glob("*/recipe.toml")) if (p.parent / "weights.safetensors").exists()]
    return [f for f in folders if read_recipe(f).get("family") in families]


def read_weights(folder: Path, recorded: str, name: str = "weights.safetensors") -> dict[str, torch.Tensor]:
    """Stored tensors of a file in a model folder, their digest checked against the recorded one.

    Raises
    ------
    InputError
        When the file cannot be read, is damaged or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / name
    try:
        digest = digest_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if digest != recorded:
        raise InputError(f"{path} is damaged: its SHA-256 starts with {digest[:12]}, the recipe says {recorded[:12]}; fetch it again")
    try:
        stored: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file") from error
    return stored


def check_state(wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse weights that are not those of a model.

    Raises
    ------
    InputError
        When one is missing, unknown or of another shape; ``source`` names where they come from.
    """
    wrong = sorted(set(wanted) ^ set(state)) or sorted(k for k in wanted if wanted[k].shape != state[k].shape)
    if wrong:
        raise InputError(f"{source} does not fit its recipe: weight {wrong[0]} is missing, unknown or of another shape")


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
