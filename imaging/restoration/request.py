"""What can be refused of a request before the libraries are loaded that take seconds: names, files and folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imaging.errors import InputError, missing
from imaging.names import AMORTISED, AUTO, COMPRESSAI, ESTIMATE, FUSIONS, REGULARIZERS
from imaging.releases import FUSION_ZOO, NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO, SUPERRES_ZOO, ModelInfo
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.options import RestoreOptions, SuperResolveOptions
from imaging.restoration.paths import ScenePaths, check_name, check_paths, same_file
from imaging.sensors import is_product, load_profile

SENSOR_NEEDED = "a sensor is needed: --sensor NAME or --sensor FILE.toml; --list-sensors shows the names"


def outputs_for(paths: ScenePaths, options: RestoreOptions | FuseOptions) -> tuple[ScenePaths, list[str]]:
    """The outputs that the method has, and what the user should know of those it has not.

    Raises
    ------
    InputError
        When standard deviations are asked for by name and the method has none.
    """
    if isinstance(options, FuseOptions) or not options.is_point or not paths.uncertainty:
        return paths, []
    if paths.std is not None:
        raise InputError(f"{options.method} is a point estimate without standard deviations; leave --std away or choose --method vble-xz")
    return replace(paths, uncertainty=False), [f"{options.method} is a point estimate: there are no standard deviations"]


def regularizer_method(learned: ModelInfo) -> str:
    """The method that a released regulariser is for, by its recipe."""
    if learned.family in REGULARIZERS:
        return learned.family
    return "wcrr" if learned.recipe.under("model").number("weak", 0, 0, 1e6) > 0 else "crr"


def is_delivered(path: Path) -> bool:
    """Whether a path names a product as delivered, or something of one."""
    return is_product(path) or is_product(path.parent)


def check_no_estimate(sensor: object) -> None:
    """Refuse to estimate the sensors of a bundle."""
    if sensor == ESTIMATE:
        raise InputError(
            "sensors of a bundle cannot be estimated; name a profile with --sensor, of which --noise estimate replaces the noise"
        )


def check_bundle(paths: ScenePaths, sensor: object) -> None:
    """Refuse files that are no bundle, and sensors that none has, before any is opened; `InputError` with what to try."""
    check_no_estimate(sensor)
    given = [p for p in (paths.input, paths.pan) if p is not None]
    for path in given:
        if not is_delivered(path) and not path.is_file():
            raise InputError(missing(path))
    if paths.pan is not None and same_file(paths.pan, paths.input):
        raise InputError(
            f"{paths.pan} is given as the multispectral scene and as the panchromatic one; a bundle is --input MS.tif with --pan PAN.tif"
        )
    if paths.pan is None and not is_product(paths.input):
        raise InputError(f"{paths.input} is no product as delivered; give the panchromatic scene of {paths.input.name} with --pan PAN.tif")
    if sensor is None and not all(map(is_delivered, given)):
        raise InputError(SENSOR_NEEDED)


def check_names(sensor: str | None, options: RestoreOptions | SuperResolveOptions | FuseOptions) -> None:
    """Refuse a sensor or a released model that there is not; `InputError` with what there is."""
    model = options.model if isinstance(options, SuperResolveOptions) else options.prior
    for name in (sensor, model):
        if name is not None:
            check_name(Path(name))
    if isinstance(options, SuperResolveOptions):
        if options.model is not None:
            SUPERRES_ZOO.find(options.model)
        return
    if isinstance(options, FuseOptions):
        _check_fusion_prior(options)
    elif options.prior not in {AUTO, ""} and not options.prior.startswith(COMPRESSAI):
        released = (NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO)
        if not any(m.name == options.prior for zoo in released for m in zoo.models()):  # one of another kind is refused where it is loaded
            (REGULARIZER_ZOO if options.is_point else NETWORK_ZOO if options.method == AMORTISED else PRIOR_ZOO).find(options.prior)
    if sensor not in {None, ESTIMATE}:
        load_profile(str(sensor))


def _check_fusion_prior(options: FuseOptions) -> None:
    """Refuse a network or prior of bundles that there is not."""
    if options.prior == AUTO or options.prior.startswith(COMPRESSAI):
        return
    fitted = options.method == FUSIONS[-1] or (options.method == AUTO and options.of_a_fit)
    if fitted or options.method in {AUTO, AMORTISED}:
        (PRIOR_ZOO if fitted else FUSION_ZOO).find(options.prior)


def check_request(paths: ScenePaths, sensor: str | None, options: RestoreOptions | SuperResolveOptions | FuseOptions) -> None:
    """Refuse what cannot be restored whatever is in the scene; `InputError` as the restoration itself would have it, but at once.

    A request that passes may still be refused: once the scene is open, or where a model is loaded.
    """
    samples = 0
    if not isinstance(options, SuperResolveOptions):
        paths, samples = outputs_for(paths, options)[0], options.samples
    fused = isinstance(options, FuseOptions)
    check_paths(paths, samples, estimated=sensor == ESTIMATE and not fused)
    if fused:
        check_bundle(paths, sensor)
    delivered = is_delivered(paths.input)
    if not paths.input.exists() and not delivered:
        raise InputError(missing(paths.input))
    if sensor is None and not delivered and isinstance(options, RestoreOptions):
        raise InputError(SENSOR_NEEDED)
    check_names(None if delivered and (paths.pan is None or is_delivered(paths.pan)) else sensor, options)
    if options.bands is not None and not delivered:
        from imaging.raster import Scene  # takes longer than all of the above

        Scene(paths.input, options.bands).source.close()
