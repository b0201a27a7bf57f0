"""Released super-resolution models: found by name, checked, and loaded as torch networks."""

from __future__ import annotations

from pathlib import Path

from imaging.errors import InputError
from imaging.names import PRECISIONS
from imaging.releases import SUPERRES_ZOO, ModelInfo, check_digest, read_recipe, read_weights
from imaging.superres.blueprint import blueprint
from imaging.superres.export import Manifest
from imaging.superres.genotype import Genotype
from imaging.superres.networks import Network


def list_models() -> list[ModelInfo]:
    """All released super-resolution models, in the order of their names; of priors, passes and regularisers there are lists of their own.

    Raises
    ------
    InputError
        When no zoo is installed, or a recipe in it cannot be read.
    """
    return SUPERRES_ZOO.models()


def find_model(name: str) -> Path:
    """Folder of a released model, or of one that the user gives; what `imaging.superres.export` wrote is enough.

    Raises
    ------
    InputError
        For an unknown name, or a folder without a super-resolution model.
    """
    folder = Path(str(name))
    exported = any((folder / f"{precision}.json").exists() for precision in PRECISIONS)
    return folder if exported and not (folder / "recipe.toml").exists() else SUPERRES_ZOO.find(name).folder


def manifest_of(name: str) -> Manifest:
    """Manifest of a model's integer version; errors as of `find_model`, and for a file that is none."""
    return Manifest.load(find_model(name) / "int8.json")


def size_of(name: str) -> int:
    """Bytes of a model's integer version; errors as of `model_file`."""
    return model_file(find_model(name), "int8")[0].stat().st_size


def model_file(folder: Path, precision: str) -> tuple[Path, Manifest]:
    """ONNX file of a model folder, its digest checked, and its manifest; `InputError` for an unknown precision or a bad or missing file."""
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; accepted are {', '.join(PRECISIONS)}")
    path = folder / f"{precision}.onnx"
    manifest = Manifest.load(path.with_suffix(".json"))
    check_digest(path, manifest.sha256, "manifest")
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
    stored = read_weights(folder, read_recipe(folder).under("release").get(key, str, ""), name)
    if quantised:
        network.attach_quantisers()
    try:
        network.load_state_dict(stored)
    except RuntimeError as error:
        raise InputError(f"{folder / name} does not fit the genotype beside it") from error
    return network.eval()
