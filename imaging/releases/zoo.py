"""The released models by name: one loader of names and folders for all kinds of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from reprlib import repr as short

from imaging.errors import InputError, did_you_mean
from imaging.releases.recipes import MOST_CHANNELS, Table, read_recipe


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """What a released model says of itself.

    Attributes
    ----------
    name, title : str
        What users call it, and one line for lists.
    family : str
        Of the models that are made alike.
    channels : int
        Of its images: bands that it takes together.
    digest : str
        SHA-256 of its weights' file; empty where none was recorded.
    folder : Path
        Where it is.
    bands : tuple of str
        Common names of its channels, such as ``red``; empty where it serves any.
    """

    name: str
    title: str
    family: str
    channels: int
    digest: str
    folder: Path
    bands: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            warnings.warn("lists of models hold what each says of itself; compare its name", DeprecationWarning, stacklevel=2)
            return self.name == other
        return isinstance(other, ModelInfo) and (self.folder, self.digest) == (other.folder, other.digest)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def recipe(self) -> Table:
        """How it was made, and what was measured of it."""
        return read_recipe(self.folder)


@dataclass(frozen=True)
class Zoo:
    """The released models of one kind.

    Attributes
    ----------
    kind : str
        What one of them is called.
    families : tuple of str
        Those that belong to it.
    also : str
        What else than a name or a folder is accepted.
    """

    kind: str
    families: tuple[str, ...]
    also: str = ""

    def info(self, folder: Path) -> ModelInfo:
        """What a model folder says of itself; `InputError` where it holds no model of the kind, or its recipe is not as it should be."""
        recipe = read_recipe(folder)
        family = recipe.values.get("family")
        if family not in self.families:
            raise InputError(
                f"{folder} holds no released {self.kind}: its family is {short(family)}; accepted are {', '.join(self.families)}"
            )
        model, release = recipe.under("model"), recipe.under("release")
        channels = int(model.number("channels", 1, 1, MOST_CHANNELS + 1))
        bands = recipe.get("bands", tuple[str, ...], ())
        if len(bands) not in {0, channels}:
            recipe.refuse("bands", "as many common names as the model has channels")
        name, title, digest = recipe.get("name", str), recipe.get("title", str, ""), release.get("sha256", str, "")
        return ModelInfo(name, title, family, channels, digest, folder, bands)

    def models(self) -> list[ModelInfo]:
        """All models of the installation, in the order of their names; `InputError` where a recipe cannot be read."""
        folders = [p.parent for p in sorted(zoo_folder().glob("*/recipe.toml")) if (p.parent / "weights.safetensors").exists()]
        return [self.info(f) for f in folders if read_recipe(f).values.get("family") in self.families]

    def find(self, name: str | ModelInfo) -> ModelInfo:
        """A model by its name or its folder; `InputError` for an unknown name, and where `info` raises it."""
        if isinstance(name, ModelInfo):
            return name
        if Path(name).is_dir():
            return self.info(Path(name))
        known = {m.name: m for m in self.models()}
        if name not in known:
            raise InputError(f"unknown {self.kind} {name!r}; {did_you_mean(name, known)}, or a path to a model folder{self.also}")
        return known[name]

    def choose(self, bands: Sequence[str | None], default: str) -> str:
        """Name of the model for bands of these common names: one of just them together, otherwise the default for each."""
        wanted = sorted(b or "" for b in bands)
        return next((m.name for m in self.models() if m.bands and sorted(m.bands) == wanted), default)


def zoo_folder() -> Path:
    """Folder of the released models: inside an installation, or beside the package in a checkout."""
    package = Path(str(resources.files("imaging")))
    for candidate in (package / "models", package.parent / "models"):
        if candidate.is_dir():
            return candidate
    raise InputError("no model zoo is installed; give a model folder instead of a name")
