"""Super-resolving a file with an exported network: windowed GeoTIFF to GeoTIFF."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import imaging
from imaging.errors import InputError, WorkError
from imaging.raster import Area, Magnified, Output, Scene, Tile, TileStore, as_stored, filled, publish, write_output
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import Seconds, side_by_side
from imaging.restoration.planning import check_disk, disk_need, state_of
from imaging.restoration.scenes import SceneResult, peak_memory_mb
from imaging.sensors import find_scene
from imaging.superres import SuperResolver
from imaging.superres.zoo import list_models, manifest_of, size_of

_BRIGHT = 1.5
"""Range of a scene that names none: so many times the 99th percentile of its pixels."""


@dataclass(frozen=True, kw_only=True)
class SuperResolveOptions:
    """Settings of one super-resolution.

    Attributes
    ----------
    model : str, optional
        Name in the zoo or model folder; by default the zoo's largest for the scale, for any band one by one where it has such a one.
    scale : int
        2 or 4: how many times as fine the result is.
    precision : str
        ``"int8"`` or ``"float32"``.
    bands : tuple of int, optional
        Bands to super-resolve, numbered from 1; all by default.
    range : float, optional
        Stored value that counts as 1. By default 255 for 8 bits, otherwise 1.5 times the 99th percentile of sampled pixels' magnitudes.
    tile : int
        Side of a tile of the result, pixels.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"tensorrt"``.
    threads : int, optional
        Of the CPU; all by default.
    """

    model: str | None = None
    scale: int = 2
    precision: str = "int8"
    bands: tuple[int, ...] | None = None
    range: float | None = None
    tile: int = 1024
    device: str = "cpu"
    threads: int | None = None
    samples = 0
    """As of a restoration: there are none."""

    def __post_init__(self) -> None:
        if self.scale not in {2, 4}:
            raise InputError(f"the scale is {self.scale}; accepted are 2 and 4")
        if self.range is not None and not 0 < self.range < math.inf:
            raise InputError(f"the range is {self.range}; accepted are numbers above 0")
        if not 64 <= self.tile <= 8192 or self.tile % self.scale:
            raise InputError(f"the tile size is {self.tile}; accepted are multiples of the scale from 64 to 8192")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; accepted are integers from 1")

    def model_name(self) -> str:
        """The model asked for, or the zoo's for the scale; of several, the one of fewest bands, then the largest.

        Raises
        ------
        InputError
            When there is none of this scale.
        """
        if self.model is not None:
            return self.model
        known = {name: manifest_of(name) for name in list_models()}
        suited = [name for name, m in known.items() if m.factor == self.scale]
        if not suited:
            raise InputError(f"the zoo has no super-resolution model of scale {self.scale}; give one with --model")
        return min(suited, key=lambda name: (known[name].bands, -size_of(name)))

    def resolver(self) -> SuperResolver:
        """The model, checked against the scale."""
        found = SuperResolver(self.model_name(), self.precision, self.device, self.threads)
        if found.manifest.factor != self.scale:
            raise InputError(
                f"model {found.manifest.name} is for scale {found.manifest.factor}, not {self.scale}; give --scale {found.manifest.factor}"
            )
        return found


def scale_of(model: str | None) -> int:
    """Scale of a model, 2 where none is named."""
    return 2 if model is None else manifest_of(model).factor


def super_resolve_scene(
    paths: ScenePaths, options: SuperResolveOptions | None = None, *, progress: Callable[[int, int], None] | None = None
) -> SceneResult:
    """Super-resolve one raster file into a GeoTIFF on a grid so many times as fine.

    Parameters
    ----------
    paths : ScenePaths
        Input and output; there are no standard deviations.
    options : SuperResolveOptions, optional
        Settings.
    progress : callable, optional
        Called with (finished, total) tiles.

    Returns
    -------
    SceneResult
        With the model as prior.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    WorkError
        When something failed later; nothing is written then either.
    """
    began, options = time.monotonic(), options or SuperResolveOptions()
    paths = replace(paths, uncertainty=False)
    resolver = options.resolver()
    paths.check(0)
    product = find_scene(paths.input)
    with Scene(paths.input, options.bands, virtual=None if product is None else product.assembly.virtual()) as scene:
        paths.check_sources(scene.files, 0)
        resolver.check_bands(len(scene.bands))
        work = _Work(scene, resolver, *_scales(scene, options), options)
        check_disk([paths.restored_path], disk_need(work.grid, scene.dtype.itemsize))
        mark = work.fingerprint(paths)
        store = TileStore(paths.restored_path, mark, (paths.restored_path,))
        with store.running(resume=paths.resume):
            work.run(store, progress)
            written = (write_output(work.grid, work.product(paths), work.tiles, store), paths.restored_path)
            if work.fingerprint(paths) != mark:
                raise WorkError(f"{paths.input} changed while it was super-resolved; nothing is written")
            publish([written])
        return work.result(paths, time.monotonic() - began)


def _scales(scene: Scene, options: SuperResolveOptions) -> tuple[float, float]:
    """Stored value that counts as 1, and the largest that may be stored: that of the bits, 8 or more, which sampled pixels need."""
    whole, most = scene.dtype.kind in "ui", float(np.iinfo(scene.dtype).max if scene.dtype.kind in "ui" else 1e30)
    least = 1.0 if whole else 1e-30
    if options.range is not None and not least <= options.range <= most:
        raise InputError(f"the range is {options.range:g}; accepted for {scene.dtype} are numbers from {least:g} to {most:g}")
    values = np.concatenate([np.abs(v[m]) for v, m in scene.sample()])
    bright = 255.0 if scene.dtype == np.uint8 else _BRIGHT * float(np.quantile(values, 0.99))
    largest = 2.0 ** max(8, math.ceil(math.log2(float(values.max()) + 1))) - 1
    return options.range or max(bright, least), largest


@dataclass
class _Work:
    """One scene's tiles."""

    scene: Scene
    resolver: SuperResolver
    full_scale: float
    largest: float
    options: SuperResolveOptions

    def __post_init__(self) -> None:
        self.grid = Magnified(self.scene, self.options.scale)
        side = self.options.tile
        areas = self.grid.blocks(side)
        m, f = self.resolver.manifest.margin, self.options.scale
        height, width = (min(side // f, n) for n in (self.scene.height, self.scene.width))
        self.tiles = [Tile(k, a, Area(a.row // f, a.column // f, height, width).grow(m)) for k, a in enumerate(areas)]
        self.seconds = Seconds()

    def read(self, tile: Tile) -> tuple[Tile, NDArray[np.float32], NDArray[np.bool_], NDArray[Any]]:
        """A tile, its window's values and validity, and what is stored in its core.

        Pixels without values get the nearest one's. It is looked for as far again as the window's margin, so that what a pixel gets does
        not depend on the tile.
        """
        began = time.monotonic()
        m = self.resolver.manifest.margin
        values, valid = self.scene.read(tile.window.grow(m))
        if self.resolver.manifest.bands > 1:  # bands are seen together: a pixel that one of them lacks is none
            valid = np.broadcast_to(valid.all(0), valid.shape)
        cut = (slice(None), slice(m, -m), slice(m, -m))
        found = tile, filled(values, valid)[cut], valid[cut], self.grid.read_raw(tile.core, self.scene.bands)
        self.seconds.reading += time.monotonic() - began
        return found

    def super_resolve(self, tile: Tile, values: NDArray[np.float32], valid: NDArray[np.bool_], core: NDArray[Any]) -> NDArray[Any]:
        """Stored values ``(C, H, W)`` of a tile's core."""
        began = time.monotonic()
        m, f = self.resolver.manifest.margin, self.options.scale
        part = (slice(None), slice(f * m, f * m + tile.core.height), slice(f * m, f * m + tile.core.width))
        groups = self.resolver.batched(values[None] / np.float32(self.full_scale))
        fine = np.concatenate([self.resolver.window(g[None])[0][part] for g in groups]) * np.float32(self.full_scale)
        shown = valid.repeat(f, 1).repeat(f, 2)[part]
        stored = as_stored(fine, core, self.scene.nodata, self.largest)
        self.seconds.fitting += time.monotonic() - began
        return np.where(shown, stored, core).astype(core.dtype)

    def run(self, store: TileStore, progress: Callable[[int, int], None] | None) -> None:
        """Super-resolve the tiles that are not finished; the next ones are read, and finished ones written, meanwhile."""
        waiting = [t for t in self.tiles if not store.has(t)]
        done = len(self.tiles) - len(waiting)

        def fit(known: tuple[Tile, Any, Any, Any]) -> Iterator[tuple[Tile, NDArray[Any]]]:
            nonlocal done
            yield known[0], self.super_resolve(*known)
            done += 1
            if progress is not None:
                progress(done, len(self.tiles))

        def write(finished: tuple[Tile, NDArray[Any]]) -> None:
            began = time.monotonic()
            store.put(finished[0], {"restored": finished[1]})
            self.seconds.writing += time.monotonic() - began

        side_by_side(iter(waiting), self.read, fit, write, self.seconds)

    def fingerprint(self, paths: ScenePaths) -> dict[str, Any]:
        """What must be equal for a run to be continued, and at its end."""
        o = self.options
        return {
            "input": [str(paths.input.absolute()), state_of(paths.input, self.scene)], "model": self.resolver.manifest.sha256,
            "scale": o.scale, "bands": list(self.scene.bands), "range": self.full_scale, "tile": o.tile, "version": imaging.__version__,
        }  # fmt: skip

    def product(self, paths: ScenePaths) -> Output:
        """The output with its tags."""
        manifest, scene = self.resolver.manifest, self.scene
        tags = {
            "IMAGING_VERSION": imaging.__version__, "IMAGING_METHOD": "super-resolution", "IMAGING_PRIOR": manifest.name,
            "IMAGING_PRIOR_SHA256": manifest.sha256, "IMAGING_PRECISION": manifest.precision, "IMAGING_SCALE": str(manifest.factor),
            "IMAGING_RANGE": f"{self.full_scale:g}", "IMAGING_TILE": str(self.options.tile),
        }  # fmt: skip
        return Output(paths.restored_path, "restored", scene.bands, scene.alpha, str(scene.dtype), scene.nodata, True, tags)

    def result(self, paths: ScenePaths, seconds: float) -> SceneResult:
        """What was done."""
        grid, manifest = self.grid, self.resolver.manifest
        notes = [] if self.options.range is not None or self.scene.dtype == np.uint8 else [f"{self.full_scale:g} counts as full brightness"]
        return SceneResult(
            input=str(paths.input), restored=str(paths.restored_path), std=None, sensor="any", sensor_file=None, prior=manifest.name,
            method=f"super-resolution, {manifest.precision}", scale=manifest.factor, width=grid.width, height=grid.height,
            bands=list(self.scene.bands), iterations=1, seconds=round(seconds, 2),
            stages=self.seconds.rounded(), megapixels=grid.width * grid.height / 1e6,
            peak_memory_mb=peak_memory_mb(), seed=0, version=imaging.__version__, notes=notes,
        )  # fmt: skip
