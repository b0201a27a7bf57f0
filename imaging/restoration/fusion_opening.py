"""Opening the scenes of a bundle and deciding how they are fused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from imaging.errors import InputError
from imaging.raster import Assembly, Scene, Sharpened, check_panchromatic, relate_grids
from imaging.restoration.bundle import bundle_bands, make_stack
from imaging.restoration.deciding import Sensor
from imaging.restoration.file_bundle import FileBundle, check_moment
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusing import Fusion, FusionDecision
from imaging.restoration.fusion_choice import choose_fusion_method
from imaging.restoration.method import torch_device
from imaging.restoration.paths import ScenePaths, check_paths, check_sources
from imaging.restoration.request import SENSOR_NEEDED, check_bundle
from imaging.sensors import ANY_BAND, ProductScene, SensorProfile, find_scene, load_profile, product_scenes


def open_fusion(paths: ScenePaths, sensor: Sensor, options: FuseOptions) -> Fusion:
    """Open the scenes of a bundle and decide everything about their fusion; nothing is written.

    Raises
    ------
    InputError
        For whatever cannot be used, with the reason.
    """
    check_paths(paths, options.samples)
    check_bundle(paths, sensor)
    with ExitStack() as opened, _one_thread():
        engine = _pair(paths, sensor, options, opened) if paths.pan is not None else _product(paths, sensor, options, opened)
        check_sources(paths, engine.outputs, engine.scene.files)
        opened.pop_all()  # the engine's scene closes them
        return engine


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of one order: what is decided does not depend on the threads of a process, which share a scene only where they agree on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _open(path: Path, bands: tuple[int, ...] | None, opened: ExitStack, product: ProductScene | None) -> Scene:
    return opened.enter_context(Scene(path, bands, virtual=None if product is None else product.assembly.virtual()))


def _pair(paths: ScenePaths, sensor: Sensor, options: FuseOptions, opened: ExitStack) -> Fusion:
    """Of two rasters, or two scenes of products."""
    assert paths.pan is not None
    products = find_scene(paths.pan), find_scene(paths.input)
    return _of_two(paths, sensor, options, opened, products, (paths.pan, paths.input))


def _of_two(
    paths: ScenePaths, sensor: Sensor, options: FuseOptions, opened: ExitStack,
    products: tuple[ProductScene | None, ProductScene | None], places: tuple[Path, Path],
) -> Fusion:  # fmt: skip
    _check_linear([p for p in products if p is not None])
    pan, ms = (_open(place, bands, opened, p) for place, bands, p in zip(places, (None, options.bands), products, strict=True))
    profile = _chosen(_profile(sensor, [p for p in products if p is not None]), ms, pan)
    check_panchromatic(ms, pan)
    check_moment(ms, pan, [None if p is None else p.acquired for p in reversed(products)])
    relation = relate_grids(ms, pan)
    bundle, device = FileBundle(ms, pan, relation), torch_device(options.device)
    notes = list(dict.fromkeys(n for p in products if p is not None for n in p.notes))
    stack, found = make_stack(bundle, profile, options, device)
    method, reasons = choose_fusion_method(options, [stack], device)
    notes += [f"the multispectral grid is {relation.ratio} times as coarse, by {relation.source}", *found, *reasons]
    decision = FusionDecision(profile, [stack], [bundle], method, notes, profile.full_scale)
    return Fusion(Sharpened(ms, pan, relation), paths, options, decision)


def _product(paths: ScenePaths, sensor: Sensor, options: FuseOptions, opened: ExitStack) -> Fusion:
    """Of the scenes of a product, the finest one with each of the others."""
    scenes = product_scenes(paths.input)
    sharp = [s for s in scenes if _distance(s) < 1.01 * min(map(_distance, scenes))]
    coarse = sorted((s for s in scenes if s not in sharp), key=_distance)
    if len(sharp) != 1 or not coarse:
        raise InputError(
            f"{paths.input} holds {', '.join(s.name for s in scenes)}: no bundle of one sharp scene and coarser ones; "
            "restore its scenes one by one, or name two with --input and --pan"
        )
    if len(sharp[0].assembly.descriptions) == 1:
        if len(coarse) > 1:
            raise InputError(
                f"{paths.input} holds several scenes beside {sharp[0].name}; name one: --input {coarse[0].path} --pan {sharp[0].path}"
            )
        return _of_two(paths, sensor, options, opened, (sharp[0], coarse[0]), (sharp[0].path, coarse[0].path))
    return _several(paths, sensor, options, opened, sharp[0], coarse)


def _several(
    paths: ScenePaths, sensor: Sensor, options: FuseOptions, opened: ExitStack, sharp: ProductScene, coarse: list[ProductScene]
) -> Fusion:  # fmt: skip
    """Several sharp bands with those of one or more coarser distances, such as Sentinel-2's."""
    if options.pan_weights is not None:
        raise InputError(
            f"weights of a panchromatic band are given, but the sharp bands of {paths.input} are {', '.join(sharp.assembly.descriptions)}; "
            "leave them away"
        )
    profile, device = _profile(sensor, [sharp, *coarse]), torch_device(options.device)
    parts = [sharp, *coarse]
    counts = [len(p.assembly.descriptions) for p in parts]
    every = range(1, sum(counts) + 1)
    wanted = options.bands or tuple(every)
    if any(b not in every for b in wanted) or len(set(wanted)) != len(wanted):
        raise InputError(f"bands {','.join(map(str, wanted))} are not 1 to {sum(counts)}, each once; {_listed(parts)}")
    stacks, bundles, notes = [], [], list(dict.fromkeys(n for p in parts for n in p.notes))
    first = counts[0]
    fine = _open(sharp.path, None, opened, sharp)
    for part, count in zip(coarse, counts[1:], strict=True):
        chosen = tuple(sorted(b - first for b in wanted if first < b <= first + count))
        first += count
        if not chosen:
            continue
        low = _open(part.path, chosen, opened, part)
        bundle = FileBundle(low, fine, relate_grids(low, fine))
        stack, found = make_stack(bundle, profile, options, device, f"the bands of {part.name}")
        stacks.append(stack)
        bundles.append(bundle)
        notes += [f"{part.name}: {n}" for n in found]
    if not stacks:
        raise InputError(f"the bands {','.join(map(str, wanted))} are all of {sharp.name}, nothing is to be sharpened; {_listed(parts)}")
    method, reasons = choose_fusion_method(options, stacks, device)
    together = Assembly(
        tuple(b for p in parts for b in p.assembly.bands), tuple(d for p in parts for d in p.assembly.descriptions), sharp.assembly.nodata,
        tuple(s for p in parts for s in p.assembly.scaling) if all(p.assembly.scaling for p in parts) else (), stretched=True,
    )  # fmt: skip
    scene = opened.enter_context(Scene(paths.input, wanted, virtual=together.virtual()))
    decision = FusionDecision(profile, stacks, bundles, method, notes + reasons, profile.full_scale)
    return Fusion(scene, paths, options, replace(decision, chosen=_places(wanted, counts[0])))


def _places(wanted: tuple[int, ...], sharp: int) -> tuple[int, ...]:
    """Where each wanted band is among the results: all sharp bands, then the wanted coarse ones, by their stacks."""
    coarse = sorted(b for b in wanted if b > sharp)
    return tuple(b - 1 if b <= sharp else sharp + coarse.index(b) for b in wanted)


def _listed(parts: list[ProductScene]) -> str:
    names = [d for p in parts for d in p.assembly.descriptions]
    return "they are " + ", ".join(f"{k} {n}" for k, n in enumerate(names, start=1))


def _chosen(profile: SensorProfile, ms: Scene, pan: Scene) -> SensorProfile:
    """The profile with the coarse bands that were chosen from a file, told by their numbers there where they have no names."""
    every = tuple(b for b in ms.source.indexes if b not in ms.alpha)
    if ms.bands == every or profile.bands[0].name == ANY_BAND:
        return profile
    try:
        fine, coarse = bundle_bands(profile, pan.descriptions, tuple(ms.source.descriptions[b - 1] for b in every))
    except InputError:
        return profile  # of another number of bands: names have to tell
    return replace(profile, bands=fine + tuple(coarse[every.index(b)] for b in ms.bands))


def _check_linear(products: list[ProductScene]) -> None:
    """Refuse scenes for display, none of whose bands is a mixture of others."""
    for product in products:
        if not product.linear:
            raise InputError(
                f"{product.path} was made for display, each band stretched by itself, so that the panchromatic one is no mixture of the "
                "others; take the product in counts or reflectance"
            )


def _distance(scene: ProductScene) -> float:
    """Ground sample distance of a product's scene, metres."""
    if scene.profile is None:
        raise InputError(
            f"no sensor profile is known for {scene.path}; name the scenes with --input and --pan, and a profile with --sensor"
        )
    return scene.profile.bands[0].gsd


def _profile(sensor: Sensor, products: list[ProductScene]) -> SensorProfile:
    """The profile asked for, or that of the products with the bands of all."""
    own = [p.profile for p in products if p.profile is not None]
    if sensor is None or (own and sensor in {p.name for p in own}):
        if not own or len(own) < len(products):
            raise InputError(SENSOR_NEEDED)
        return replace(own[0], bands=tuple(b for p in own for b in p.bands))
    return sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
