"""Super-resolving a scene: the engine whose windows go through an exported network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from imaging.errors import InputError
from imaging.raster import Area, Scene, Tile, filled
from imaging.restoration.deciding import Known
from imaging.restoration.engine import Arrays, Batch, Engine, open_scene
from imaging.restoration.options import SuperResolveOptions
from imaging.restoration.paths import ScenePaths
from imaging.superres import SuperResolver
from imaging.superres.zoo import list_models, manifest_of, size_of
from imaging.version import __version__

_BRIGHT = 1.5
"""Range of a scene that names none: so many times the 99th percentile of its pixels."""


class SuperResolution(Engine):
    """The super-resolution of one open scene by a network.

    `InputError` when it takes other bands, or the range is none of the scene's type.
    """

    verb = "super-resolved"

    def __init__(self, scene: Scene, paths: ScenePaths, options: SuperResolveOptions, resolver: SuperResolver) -> None:
        self.scene, self.paths, self.options, self.resolver = scene, paths, options, resolver
        resolver.check_bands(len(scene.bands))
        self.full_scale, self.largest = ranges(scene, options)
        self.scale = f = resolver.manifest.factor
        self.margin, self.together = resolver.manifest.margin, resolver.manifest.bands > 1
        height, width = (min(options.tile // f, n) for n in (scene.height, scene.width))
        areas = self.grid.blocks(options.tile)
        self.tiles = [Tile(k, a, Area(a.row // f, a.column // f, height, width).grow(self.margin)) for k, a in enumerate(areas)]
        known = options.range is not None or scene.dtype == np.uint8
        self.notes = [] if known else [f"{self.full_scale:g} counts as full brightness"]

    def measured(self, tile: Tile) -> Area:
        """A tile's window, and as far again: what a pixel without values gets from the nearest one does not depend on the tile."""
        return tile.window.grow(self.margin)

    def work(self, batch: Batch, step: Callable[[int], None]) -> list[Arrays]:
        """Super-resolved cores; see `Engine.work`."""
        m, f, found = self.margin, self.scale, []
        for tile, values, valid in zip(batch.tiles, batch.values, batch.valid, strict=True):
            window = filled(values, valid)[:, m:-m, m:-m] / np.float32(self.full_scale)
            part = (slice(None), slice(f * m, f * m + tile.core.height), slice(f * m, f * m + tile.core.width))
            fine = [self.resolver.window(g[None])[0][part] for g in self.resolver.batched(window[None])]
            found.append({"restored": np.concatenate(fine) * np.float32(self.full_scale)})
            step(1)
        return found

    def settings(self) -> dict[str, Any]:
        """What two runs must share; see `Engine.settings`."""
        return {
            "model": self.resolver.manifest.sha256, "scale": self.scale, "bands": list(self.scene.bands), "range": self.full_scale,
            "tile": self.options.tile,
        }  # fmt: skip

    def tags(self) -> dict[str, str]:
        """Settings written to the output."""
        manifest = self.resolver.manifest
        return {
            "IMAGING_VERSION": __version__, "IMAGING_METHOD": "super-resolution", "IMAGING_PRIOR": manifest.name,
            "IMAGING_PRIOR_SHA256": manifest.sha256, "IMAGING_PRECISION": manifest.precision, "IMAGING_SCALE": str(manifest.factor),
            "IMAGING_RANGE": f"{self.full_scale:g}", "IMAGING_TILE": str(self.options.tile),
        }  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """What a result says of the network, as its prior, and the method."""
        manifest = self.resolver.manifest
        method = f"super-resolution, {manifest.precision}"
        return {"sensor": "any", "sensor_file": None, "prior": manifest.name, "method": method, "iterations": 1, "seed": 0}


def open_super_resolution(paths: ScenePaths, options: SuperResolveOptions) -> SuperResolution:
    """Load a network and open a scene; nothing is written; `InputError` for whatever cannot be used, with the reason."""
    resolver = find_resolver(options)
    scene, _ = open_scene(paths, options.bands)
    try:
        return SuperResolution(scene, paths, options, resolver)
    except BaseException:
        scene.source.close()
        raise


def find_resolver(options: SuperResolveOptions) -> SuperResolver:
    """The network asked for, or the zoo's for the scale; of several, the one of fewest bands, then the largest.

    `InputError` when there is none of this scale, or it does not fit the options.
    """
    if options.model is None:
        scale, known = options.scale or 2, {m.name: manifest_of(m.name) for m in list_models()}
        suited = [name for name, m in known.items() if m.factor == scale]
        if not suited:
            raise InputError(f"the zoo has no super-resolution model of scale {scale}; give one with --model")
        name = min(suited, key=lambda name: (known[name].bands, -size_of(name)))
    else:
        name = options.model
    found = SuperResolver(name, options.precision, options.device, options.threads)
    model, factor = found.manifest.name, found.manifest.factor
    if options.scale not in {None, factor}:
        raise InputError(f"model {model} is for scale {factor}, not {options.scale}; give --scale {factor}")
    if options.tile % factor:
        raise InputError(f"the tile size is {options.tile}; accepted are multiples of the scale from 64 to 8192")
    return found


def ranges(scene: Known, options: SuperResolveOptions) -> tuple[float, float]:
    """Stored value that counts as 1, and the largest that may be stored: that of the bits, 8 or more, which sampled pixels need."""
    whole, most = scene.dtype.kind in "ui", float(np.iinfo(scene.dtype).max if scene.dtype.kind in "ui" else 1e30)
    least = 1.0 if whole else 1e-30
    if options.range is not None and not least <= options.range <= most:
        raise InputError(f"the range is {options.range:g}; accepted for {scene.dtype} are numbers from {least:g} to {most:g}")
    values = np.concatenate([np.abs(v[m]) for v, m in scene.sample()])
    bright = 255.0 if scene.dtype == np.uint8 else _BRIGHT * float(np.quantile(values, 0.99))
    largest = 2.0 ** max(8, math.ceil(math.log2(float(values.max()) + 1))) - 1
    return options.range or max(bright, least), largest


def scale_of(options: SuperResolveOptions) -> int:
    """How many times as fine the result is: as asked for, as the model makes it, or 2."""
    return options.scale or (2 if options.model is None else manifest_of(options.model).factor)
