"""Released super-resolution models: found by name, checked, and loaded as torch networks."""

from __future__ import annotations

from pathlib import Path

from imaging.errors import InputError, did_you_mean
from imaging.names import PRECISIONS, SUPERRES_FAMILY
from imaging.releases import digest_of, read_recipe, read_weights, released, zoo_folder
from imaging.superres.blueprint import blueprint
from imaging.superres.export import Manifest
from imaging.superres.genotype import Genotype
from imaging.superres.networks import Network


def list_models() -> list[str]:
    """Names of the released super-resolution models, in order; what `SuperResolver` takes.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return [f.name for f in released(zoo_folder(), {SUPERRES_FAMILY})]


def find_model(name: str) -> Path:
    """Folder of a released model, or of one that the user gives; what `imaging.superres.export` wrote is enough.

    Raises
    ------
    InputError
        For an unknown name, or a folder without a super-resolution model.
    """
    folder = Path(name) if Path(name).is_dir() else zoo_folder() / name
    if not Path(name).is_dir() and name not in list_models():
        raise InputError(f"unknown super-resolution model {name!r}; {did_you_mean(name, list_models())}, or a path to a model folder")
    exported = any((folder / f"{precision}.json").exists() for precision in PRECISIONS)
    bare = exported and not (folder / "recipe.toml").exists()
    if not bare and read_recipe(folder).get("family") != SUPERRES_FAMILY:
        raise InputError(f"{folder} is no super-resolution model: the family in its recipe.toml is not {SUPERRES_FAMILY}")
    return folder


def manifest_of(name: str) -> Manifest:
    """Manifest of a model's integer version; errors as of `find_model`, and for a file that is none."""
    return Manifest.load(find_model(name) / "int8.json")


def size_of(name: str) -> int:
    """Bytes of a model's integer version; errors as of `model_file`."""
    return model_file(find_model(name), "int8")[0].stat().st_size


def model_file(folder: Path, precision: str) -> tuple[Path, Manifest]:
    """ONNX file of a model folder and its manifest, the digest checked.

    Raises
    ------
    InputError
        For an unknown precision, or a file that is missing or damaged.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; accepted are {', '.join(PRECISIONS)}")
    path = folder / f"{precision}.onnx"
    manifest = Manifest.load(path.with_suffix(".json"))
    try:
        digest = digest_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if digest != manifest.sha256:
        raise InputError(
            f"{path} is damaged: its SHA-256 starts with {digest[:12]}, its manifest says {manifest.sha256[:12]}; fetch it again"
        )
    return path, manifest


def load_network(name: str, *, quantised: bool = False) -> Network:
    """A released model as torch network, folded, in evaluation mode.

    Parameters
    ----------
    name : str
        Of the zoo, or a model folder.
    quantised : bool
        With the quantisers of training, which the integer model agrees with up to rounding; otherwise in float.

    Raises
    ------
    InputError
        For an unknown name or damaged files.
    """
    folder = find_model(name)
    plan = blueprint(Genotype.load(folder / "genotype.json"))
    network = Network(plan).fold()
    name, key = ("quantised.safetensors", "quantised_sha256") if quantised else ("weights.safetensors", "sha256")
    path, digest = folder / name, read_recipe(folder).get("release", {}).get(key)
    if digest is None:
        raise InputError(f"{folder}/recipe.toml has no {key} in [release], so that {name} cannot be checked")
    stored = read_weights(folder, str(digest), name)
    if quantised:
        network.attach_quantisers()
    try:
        network.load_state_dict(stored)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit the genotype beside it") from error
    return network.eval()
