"""Fusing the scenes of a bundle: the engine whose windows hold sharp and coarse bands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.raster import Area, Scene, Tile, TilePlan, write_style
from imaging.raster.tiles import STEP
from imaging.restoration.bundle import Pieces, Stack
from imaging.restoration.engine import Arrays, Batch, Engine
from imaging.restoration.file_bundle import FileBundle
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusion_methods import BundleWindow, FusionMethod
from imaging.restoration.paths import ScenePaths
from imaging.restoration.pipeline import SceneResult
from imaging.sensors import Band, SensorProfile
from imaging.version import __version__

_HALO_STEP = STEP // 2
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class FusedResult(SceneResult):
    """What was done with a bundle; further fields than those of a `SceneResult`.

    Attributes
    ----------
    input, restored, std, sensor, sensor_file, prior, method, scale, width, height, bands, iterations, seconds, stages, megapixels,
    peak_memory_mb, seed, version, notes, reference
        As of a `SceneResult`; the input is the multispectral scene or the product, the prior the network.
    pan : str
        Path of the panchromatic scene, or of the sharp bands of a product.
    pan_weights : list of float
        Of the multispectral bands in the panchromatic one, gain included; empty where several bands are sharp.
    pan_shift : list of float
        Of the multispectral grid against what the files say, panchromatic pixels to the right and down, in the middle of the scene.
    """

    pan: str = ""
    pan_weights: list[float] = None  # type: ignore[assignment]
    pan_shift: list[float] = None  # type: ignore[assignment]


@dataclass(frozen=True)
class FusionDecision:
    """How a bundle is fused: its sensor, the stacks and their files, one for each coarse resolution, the method, and notes.

    ``largest`` is the largest whole number that outputs store; ``chosen`` are the outputs' bands among the results of all
    stacks, all where it is empty.
    """

    profile: SensorProfile
    stacks: list[Stack]
    bundles: list[FileBundle]
    method: FusionMethod
    notes: list[str]
    largest: float
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True)
class FusionBatch(Batch):
    """A batch with what lies in its windows, for each tile and stack; ``values`` and ``valid`` hold nothing."""

    pieces: tuple[list[Pieces], ...] = ()

    def part(self, where: slice) -> FusionBatch:
        """Some of the tiles."""
        return FusionBatch(
            self.tiles[where], self.values[where], self.valid[where], self.cores[where], self.shown[where], self.pieces[where]
        )


class Fusion(Engine):
    """The fusion of an open bundle, as it was decided.

    ``scene`` is what the outputs share with the inputs: their grid, and what files of the coarse bands say of them. Of several sharp bands
    the outputs have these, too, and first.
    """

    verb = "fused"
    result_type = FusedResult

    def __init__(self, scene: Scene, paths: ScenePaths, options: FuseOptions, decision: FusionDecision) -> None:
        self.scene, self.paths, self.options, self.decision, self.notes = scene, paths, options, decision, decision.notes
        self.profile, self.method, self.stacks, self.bundles = decision.profile, decision.method, decision.stacks, decision.bundles
        self.full_scale, self.largest = self.stacks[0].full_scale, decision.largest
        self.samples, self.passes = options.samples, self.method.passes * len(self.stacks)
        self.sharp_too = len(self.stacks[0].bands[0]) > 1
        self.step = math.lcm(self.method.step, *(s.ratio for s in self.stacks))
        self.plan = self._plan()
        self.tiles = self.plan.tiles()

    @property
    def bands(self) -> tuple[Band, ...]:
        """Those of the outputs."""
        every = (self.stacks[0].bands[0] if self.sharp_too else ()) + tuple(b for s in self.stacks for b in s.bands[1])
        return tuple(every[k] for k in self.decision.chosen or range(len(every)))

    @property
    def ratios(self) -> tuple[int, ...]:
        """Pixels of the outputs to a measured one of each of their bands, along each side."""
        every = (1,) * len(self.stacks[0].bands[0]) * self.sharp_too + tuple(s.ratio for s in self.stacks for _ in s.bands[1])
        return tuple(every[k] for k in self.decision.chosen or range(len(every)))

    @property
    def _together(self) -> int:
        """Sharp and coarse bands that are fused at once."""
        return max(len(s.bands[0]) + len(s.bands[1]) for s in self.stacks)

    def close(self) -> None:
        """Close all files."""
        super().close()
        for bundle in self.bundles:
            bundle.ms.close()
            bundle.pan.close()

    def _plan(self) -> TilePlan:
        """Tiles and halos as asked for, or as far as the method sees and as large as a fixed memory allows."""
        options, method, coarsest = self.options, self.method, max(s.ratio for s in self.stacks)
        step = self.step
        margin = -(-max(method.margin(s) for s in self.stacks) // coarsest) * coarsest
        halo = -(-method.halo(coarsest) // _HALO_STEP) * _HALO_STEP if options.halo is None else options.halo
        tile = method.tile(halo, self._together) if options.tile is None else options.tile
        height, width = self.scene.height, self.scene.width
        if options.halo is None and max(height, width) <= tile:
            halo = 0  # one window holds it all
        return TilePlan(height, width, tile, margin, -(-method.room // step) * step if method.room else 0, halo, step)

    @property
    def batch(self) -> int:  # type: ignore[override]
        """Tiles to work on together: as asked for, or as many as a GPU's memory holds."""
        if self.options.batch is not None:
            return self.options.batch
        if self.stacks[0].device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info()
        window = self.tiles[0].window
        return max(1, int(0.8 * free / (self.method.pixel_bytes * self._together * window.height * window.width)))

    def measured(self, tile: Tile) -> Area:
        """The sharp pixels that take part in a tile's fusion: within the scene, up to a coarse pixel."""
        area, grid = self.plan.measured(tile), self.scene
        coarsest = math.lcm(*(s.ratio for s in self.stacks))
        height, width = (-(-min(n, most - first) // coarsest) * coarsest for n, most, first in (
            (area.height, grid.height, area.row), (area.width, grid.width, area.column)))  # fmt: skip
        return Area(area.row, area.column, height, width)

    def read(self, tiles: list[Tile]) -> Batch:
        """Read a batch."""
        pieces = tuple([b.read(self.measured(t)) for b in self.bundles] for t in tiles)
        cores = [self.scene.read_raw(t.core, self.scene.bands) for t in tiles]
        shown = [self._valid(t, p) for t, p in zip(tiles, pieces, strict=True)]
        if self.scene.nodata is not None:  # what only the sharp scene lacks would show as it is stored
            cores = [np.where(m, c, self.scene.nodata).astype(c.dtype) for c, m in zip(cores, shown, strict=True)]
        nothing = np.zeros((len(tiles), 1, 1, 1), np.float32)
        return FusionBatch(tiles, nothing, nothing > 0, cores, shown, pieces)

    def _valid(self, tile: Tile, pieces: list[Pieces]) -> NDArray[np.bool_]:
        """Where the bands of a core were measured: sharp ones, and the coarse ones that the outputs show there."""
        core, area = tile.core, self.measured(tile)
        cut = (slice(None), slice(core.row - area.row, core.row - area.row + core.height),
               slice(core.column - area.column, core.column - area.column + core.width))  # fmt: skip
        sharp = pieces[0].sharp_valid[cut].all(0)
        return np.asarray((self.scene.read_mask(core, self.scene.bands) != 0) & sharp & self._by_alpha(core) & self._finite(core))

    def _by_alpha(self, core: Area) -> NDArray[np.bool_]:
        good = np.ones((1, core.height, core.width), bool)
        for alpha in self.scene.alpha:
            good &= self.scene.read_raw(core, (alpha,)) != 0
        return good

    def _finite(self, core: Area) -> NDArray[np.bool_]:
        if self.scene.dtype.kind != "f":
            return np.ones((1, 1, 1), bool)
        return np.asarray(np.isfinite(self.scene.read_raw(core, self.scene.bands)))

    def work(self, batch: Batch, step: Callable[[int], None]) -> list[Arrays]:
        """Fused arrays of each tile's core; see `Engine.work`."""
        if not isinstance(batch, FusionBatch):
            raise TypeError("a fusion works on batches that it has read")
        found: list[Arrays] = []
        for _, group in groupby(range(len(batch.tiles)), key=lambda k: self._alike(batch.tiles[k])):
            members = list(group)
            parts = [self._fused(k, batch, members, step) for k in range(len(self.stacks))]
            for i in range(len(members)):
                whole = {name: np.concatenate([p[i][name] for p in parts]) for name in parts[0][i]}
                chosen = list(self.decision.chosen) or slice(None)
                found.append({name: array[chosen] for name, array in whole.items()})
        return found

    def _alike(self, tile: Tile) -> tuple[object, ...]:
        """What tiles share that are fused together: size, and the shifts of the grids."""
        area, core = self.measured(tile), tile.core
        middle = core.row + core.height / 2, core.column + core.width / 2
        return area.height, area.width, *(s.drift.at(*middle) for s in self.stacks)

    def _fused(self, index: int, batch: FusionBatch, members: list[int], step: Callable[[int], None]) -> list[Arrays]:
        """What one stack gives of some tiles."""
        stack, tiles = self.stacks[index], [batch.tiles[k] for k in members]
        area = stack.batch([batch.pieces[k][index] for k in members])
        core = tiles[0].core
        model = stack.model_at(core.row + core.height / 2, core.column + core.width / 2)
        places = [self.measured(t) for t in tiles]
        origins = [(a.row, a.column) for a in places]
        with torch.no_grad():
            posterior = self.method.fuse(BundleWindow(area, model, origins, self.options.seed * 1009 + index), stack, step)
            mean, std = posterior.moments()
            drawn = {f"sample_{k:03d}": posterior.sample(1, first=k)[0] for k in range(self.samples)}
        sharp = len(stack.bands[0]) if self.sharp_too and index == 0 else 0
        count = sharp + len(stack.bands[1])
        results = []
        for k, (tile, place) in enumerate(zip(tiles, places, strict=True)):
            core = tile.core
            cut = (slice(-count, None), slice(core.row - place.row, core.row - place.row + core.height),
                   slice(core.column - place.column, core.column - place.column + core.width))  # fmt: skip
            arrays = {name: self._stored(x[k][cut], stack, sharp) for name, x in ({"restored": mean} | drawn).items()}
            arrays["std"] = std[k][cut].cpu().numpy().astype(float) * stack.full_scale
            if not all((np.abs(x) < _LARGEST).all() for x in arrays.values()):
                raise InputError(
                    "what comes out is not finite: declare what is no measurement as nodata, or correct noise, weights or settings"
                )
            results.append(arrays)
        return results

    @staticmethod
    def _stored(image: torch.Tensor, stack: Stack, sharp: int) -> NDArray[np.float64]:
        found = image.cpu().numpy()
        parts = [stack.radiometry[0].to_stored(found[:sharp])] if sharp else []
        return np.concatenate([*parts, stack.radiometry[1].to_stored(found[sharp:])])

    def planned(self) -> dict[str, Any]:
        """What a plan tells beside tiles and method."""
        told = self.summary()
        return {name: told[name] for name in ("pan", "pan_weights", "pan_shift")}

    def settings(self) -> dict[str, Any]:
        """What two runs must share; see `Engine.settings`."""
        options = {k: v for k, v in asdict(self.options).items() if k not in {"batch", "device"}}
        stacks = [
            [s.ratio, [s.drift.right, s.drift.down], s.statistics.weights.numpy().round(6).tolist(),
             [[b.name, b.mtf.psf().round(12).tolist(), asdict(b.noise) if b.noise else None] for some in s.bands for b in some]]
            for s in self.stacks
        ]  # fmt: skip
        method = self.method
        record = {
            "options": options, "stacks": stacks, "prior": [method.kind, method.digest, method.record()],
            "plan": [self.plan.side, self.plan.halo],
        }  # fmt: skip
        found: dict[str, Any] = json.loads(json.dumps(record))
        return found

    def tags(self) -> dict[str, str]:
        """Settings written to the outputs."""
        mtf = {b.name: [*b.mtf.nyquist, b.mtf.target] for s in self.stacks for some in s.bands for b in some}
        noise = {b.name: [b.noise.sigma0, b.noise.gain, b.noise.offset] for s in self.stacks for some in s.bands for b in some if b.noise}
        told, record = self.summary(), self.method.record()
        widths = {"IMAGING_HALF_WIDTHS": json.dumps(record["half_widths"])} if "half_widths" in record else {}
        return widths | {
            "IMAGING_VERSION": __version__, "IMAGING_SENSOR": self.profile.name, "IMAGING_METHOD": self.method.kind,
            "IMAGING_PRIOR": self.method.name, "IMAGING_PRIOR_SHA256": self.method.digest, "IMAGING_ITERATIONS": str(self.method.steps),
            "IMAGING_SEED": str(self.options.seed), "IMAGING_TILE": str(self.plan.side), "IMAGING_BANDS": json.dumps(self.scene.bands),
            "IMAGING_RATIO": json.dumps([s.ratio for s in self.stacks]), "IMAGING_PAN_WEIGHTS": json.dumps(told["pan_weights"]),
            "IMAGING_PAN_SHIFT": json.dumps(told["pan_shift"]), "IMAGING_MTF_NYQUIST_AND_TARGET": json.dumps(mtf),
            "IMAGING_NOISE": json.dumps(noise), "IMAGING_CALIBRATION": json.dumps(record["calibration"]),
        }  # fmt: skip

    def sidecars(self, folder: Path, rasters: list[Path]) -> list[tuple[Path, Path]]:
        """The style of the standard deviations."""
        return [] if self.paths.style_path is None else [(write_style(rasters[0]), self.paths.style_path)]

    def summary(self) -> dict[str, Any]:
        """What a result says of sensor, method, weights and shift."""
        first, bundle = self.stacks[0], self.bundles[0]
        weights = first.statistics.weights
        shift = [round(a - b, 4) for a, b in zip(first.drift.middle, bundle.shift, strict=True)]
        return {
            "sensor": self.profile.name, "sensor_file": None, "prior": self.method.name, "method": self.method.kind,
            "iterations": self.method.steps, "seed": self.options.seed, "pan": str(bundle.pan.path),
            "pan_weights": [round(float(w), 4) for w in weights[0]] if len(weights) == 1 else [], "pan_shift": shift,
        }  # fmt: skip
