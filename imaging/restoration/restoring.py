"""Restoring a scene: the engine whose windows are fitted, or passed through a network, for the scene's sensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imaging.names import ESTIMATE
from imaging.raster import Area, Scene, Tile, TilePlan, write_style
from imaging.raster.tiles import STEP
from imaging.restoration.deciding import Decision, Sensor, decide
from imaging.restoration.engine import Arrays, Batch, Engine, open_scene
from imaging.restoration.fitting import window_margin
from imaging.restoration.options import RestoreOptions
from imaging.restoration.paths import ScenePaths
from imaging.restoration.request import outputs_for
from imaging.sensors import write_profile
from imaging.version import __version__

_HALO_STEP = STEP // 2


class Restoration(Engine):
    """The restoration of one open scene, as it was decided.

    Parameters
    ----------
    scene : Scene
        Open.
    paths, options : ScenePaths, RestoreOptions
        As given.
    decision : Decision
        About this scene; its parts are attributes of the same names.

    Attributes
    ----------
    plan : TilePlan
        How the scene is cut.
    """

    def __init__(self, scene: Scene, paths: ScenePaths, options: RestoreOptions, decision: Decision) -> None:
        self.scene, self.paths, self.options, self.decision, self.notes = scene, paths, options, decision, decision.notes
        self.profile, self.bands, self.method, self.fitters = decision.profile, decision.bands, decision.method, decision.fitters
        self.full_scale, self.largest, self.estimated = decision.full_scale, decision.profile.full_scale, decision.estimated
        self.scale, self.samples, self.passes = options.scale, options.samples, self.method.passes * len(self.fitters)
        self.plan = self._plan()
        self.tiles = self.plan.tiles()

    def _plan(self) -> TilePlan:
        """Tiles and halos as asked for, or as far as the method sees and as large as its memory allows."""
        method, options, scale = self.method, self.options, self.scale
        height, width = scale * self.scene.height, scale * self.scene.width
        radius = max(b.mtf.psf(scale).shape[0] // 2 for b in self.bands)
        halo = -(-method.halo(radius, scale) // _HALO_STEP) * _HALO_STEP if options.halo is None else options.halo
        tile = method.tile(halo) if options.tile is None else options.tile
        if options.halo is None and max(height, width) <= tile:
            halo = 0  # one window holds it all
        return TilePlan(height, width, tile, window_margin(self.bands, method.border, scale), method.room, halo, method.step)

    @property
    def batch(self) -> int:  # type: ignore[override]
        """Tiles to fit together: as asked for, or as many as a GPU's memory holds."""
        if self.options.batch is not None:
            return self.options.batch
        if self.method.device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info()
        window = self.tiles[0].window
        return max(1, int(0.8 * free / (self.method.pixel_bytes * window.height * window.width)))

    def measured(self, tile: Tile) -> Area:
        """The stored pixels that take part in a tile's fit; they may reach beyond the scene."""
        area, s = self.plan.measured(tile), self.scale
        return Area(area.row // s, area.column // s, area.height // s, area.width // s)

    def work(self, batch: Batch, step: Callable[[int], None]) -> list[Arrays]:
        """Fitted arrays of each tile's core; see `Engine.work`."""
        origins = [self.plan.origin(t, self.method.stride) for t in batch.tiles]
        areas = [self.measured(t) for t in batch.tiles]
        extents = [(min(a.height, self.scene.height - a.row), min(a.width, self.scene.width - a.column)) for a in areas]
        parts: list[list[Arrays]] = [[] for _ in batch.tiles]
        for fitter in self.fitters:
            indices = fitter.indices
            arrays = fitter(batch.values[:, indices], batch.valid[:, indices], origins, self.samples, step, extents)
            for k, tile in enumerate(batch.tiles):
                core, window = tile.core, tile.window
                cut = (slice(core.row - window.row, core.row - window.row + core.height),
                       slice(core.column - window.column, core.column - window.column + core.width))  # fmt: skip
                parts[k].append({name: array[k][(slice(None), *cut)] for name, array in arrays.items()})
        return [{name: np.concatenate([p[name] for p in ps]) for name in ps[0]} for ps in parts]

    def planned(self) -> dict[str, Any]:
        """What a plan tells beside tiles and method."""
        return {"rate_scale": [round(f.rate_scale, 4) for f in self.fitters]}

    def settings(self) -> dict[str, Any]:
        """What two runs must share; see `Engine.settings`."""
        options = {k: v for k, v in asdict(self.options).items() if k not in {"batch", "device"}}
        bands = [[b.name, b.mtf.psf().round(12).tolist(), asdict(b.noise) if b.noise else None] for b in self.bands]
        return {
            "options": json.loads(json.dumps(options)), "bands": bands, "bits": self.profile.bits,
            "prior": [self.method.kind, self.method.digest, self.method.record()], "plan": [self.plan.side, self.plan.halo],
        }  # fmt: skip

    def tags(self) -> dict[str, str]:
        """Settings written to the outputs."""
        mtf = {b.name: [*b.mtf.nyquist, b.mtf.target] for b in self.bands}
        noise = {b.name: [b.noise.sigma0, b.noise.gain, b.noise.offset] for b in self.bands if b.noise}
        record = self.method.record()
        widths = {"IMAGING_HALF_WIDTHS": json.dumps(record["half_widths"])} if "half_widths" in record else {}
        return widths | {
            "IMAGING_VERSION": __version__, "IMAGING_SENSOR": self.profile.name, "IMAGING_METHOD": self.method.kind,
            "IMAGING_PRIOR": self.method.name, "IMAGING_PRIOR_SHA256": self.method.digest,
            "IMAGING_ITERATIONS": str(self.method.steps), "IMAGING_SEED": str(self.options.seed),
            "IMAGING_TILE": str(self.plan.side), "IMAGING_SCALE": str(self.scale), "IMAGING_BANDS": json.dumps(self.scene.bands),
            "IMAGING_MTF_NYQUIST_AND_TARGET": json.dumps(mtf), "IMAGING_NOISE": json.dumps(noise),
            "IMAGING_CALIBRATION": json.dumps(record["calibration"]),
            "IMAGING_RATE_SCALE": json.dumps([round(f.rate_scale, 6) for f in self.fitters]),
        }  # fmt: skip

    def sidecars(self, folder: Path, rasters: list[Path]) -> list[tuple[Path, Path]]:
        """The style of the standard deviations, and the profile of an estimated sensor."""
        found = []
        if self.paths.style_path is not None:  # standard deviations come first
            found.append((write_style(rasters[0]), self.paths.style_path))
        if self.estimated:
            profile = folder / self.paths.sensor_path.name
            write_profile(self.profile, profile)
            found.append((profile, self.paths.sensor_path))
        return found

    def summary(self) -> dict[str, Any]:
        """What a result says of sensor, prior and method."""
        return {
            "sensor": self.profile.name, "sensor_file": str(self.paths.sensor_path) if self.estimated else None,
            "prior": self.method.name, "method": self.method.kind, "iterations": self.method.steps, "seed": self.options.seed,
        }  # fmt: skip


def open_restoration(paths: ScenePaths, sensor: Sensor, options: RestoreOptions) -> Restoration:
    """Open a scene and decide everything about its restoration; nothing is written.

    Raises
    ------
    InputError
        For whatever cannot be used, with the reason.
    """
    paths, unwritten = outputs_for(paths, options)
    scene, product = open_scene(paths, options.bands, options.samples, estimated=sensor == ESTIMATE)
    try:
        engine = Restoration(scene, paths, options, decide(scene, sensor, options, product))
        engine.notes[:0] = unwritten
        return engine
    except BaseException:
        scene.source.close()
        raise
