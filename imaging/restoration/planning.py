"""Everything that is decided about a scene before its first tile, and what the restoration will cost."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imaging
from imaging.errors import InputError
from imaging.names import ESTIMATE
from imaging.raster import Area, Magnified, Scene, Tile, TilePlan
from imaging.raster.tiles import STEP
from imaging.restoration.deciding import decide
from imaging.restoration.fitting import Fitter, Sample, scene_bands, window_margin
from imaging.restoration.method import Method
from imaging.restoration.options import RestoreOptions
from imaging.restoration.paths import ScenePaths
from imaging.restoration.radiometry import check_signal, stored_range
from imaging.sensors import Band, ProductScene, SensorProfile, estimate_sensor, find_scene, load_profile


@dataclass(frozen=True)
class Job:
    """Everything decided before the first tile; the scene is open.

    Attributes
    ----------
    scene : Scene
        To restore.
    profile, bands : SensorProfile, tuple of Band
        The sensor, and its bands in the order of the scene's, each with a noise model.
    method : Method
        With its prior or regulariser, on the device.
    fitters : list of Fitter
        One for each group of bands.
    plan : TilePlan
        How the scene is cut.
    options, paths : RestoreOptions, ScenePaths
        As given.
    notes : list of str
        What the user should know.
    estimated : bool
        Whether the profile was estimated from the scene.
    distance : float or None
        See `Decision`.
    """

    scene: Scene
    profile: SensorProfile
    bands: tuple[Band, ...]
    method: Method
    fitters: list[Fitter]
    plan: TilePlan
    options: RestoreOptions
    paths: ScenePaths
    notes: list[str]
    estimated: bool = False
    distance: float | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that will be written."""
        return tuple(self.paths.outputs(self.options.samples, estimated=self.estimated))

    @property
    def grid(self) -> Scene:
        """The scene on the grid of the outputs."""
        return self.scene if self.options.scale == 1 else Magnified(self.scene, self.options.scale)

    @property
    def disk_need(self) -> float:
        """Bytes of temporaries and outputs, at most."""
        return disk_need(self.grid, self.scene.dtype.itemsize * (1 + self.options.samples) + (4 if self.paths.uncertainty else 0))

    def measured(self, tile: Tile) -> Area:
        """The stored pixels that take part in a tile's fit; they may reach beyond the scene."""
        area, s = self.plan.measured(tile), self.options.scale
        return Area(area.row // s, area.column // s, area.height // s, area.width // s)

    @property
    def batch(self) -> int:
        """Tiles to fit together."""
        if self.options.batch is not None:
            return self.options.batch
        if self.method.device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info()
        window = self.plan.tiles()[0].window
        return max(1, int(0.8 * free / (self.method.pixel_bytes * window.height * window.width)))


Sensor = str | SensorProfile | None
"""Name of a profile, path of a TOML file, ``"estimate"``, a profile, or None for what a product's metadata say."""
_HALO_STEP = STEP // 2
_ESTIMATED_FROM = 512
"""Sides of the areas they are estimated from, pixels."""


def sensor_profile(sensor: Sensor, options: RestoreOptions, product: ProductScene | None = None) -> SensorProfile:
    """The profile asked for, or a product's own, with the options' MTF and noise in place of its own.

    Raises
    ------
    InputError
        When there is neither.
    """
    own = None if product is None else product.profile
    if own is not None and sensor in {None, own.name}:
        profile = own
    elif sensor is None:
        raise InputError("a sensor is needed: --sensor NAME or --sensor FILE.toml; --list-sensors shows the names")
    else:
        profile = sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
    return profile.with_overrides(mtf_nyquist=options.mtf_nyquist, noise=None if isinstance(options.noise, str) else options.noise)


def _tile_and_halo(scene: Scene, bands: tuple[Band, ...], method: Method, options: RestoreOptions) -> tuple[int, int]:
    """Side of a tile's core and pixels around it: as asked for, or how far the method sees, and what its memory allows."""
    radius = max(b.mtf.psf(options.scale).shape[0] // 2 for b in bands)
    halo = -(-method.halo(radius, options.scale) // _HALO_STEP) * _HALO_STEP if options.halo is None else options.halo
    tile = method.tile(halo) if options.tile is None else options.tile
    if options.halo is None and options.scale * max(scene.height, scene.width) <= tile:
        return tile, 0  # one window holds it all
    return tile, halo


def estimated_profile(
    sample: Sample, dtype: np.dtype[Any], descriptions: tuple[str | None, ...], options: RestoreOptions
) -> tuple[SensorProfile, list[str]]:  # fmt: skip
    """Profile of a sensor that is not known, from areas of its scene, with the options' MTF and noise in place of its own; and a report.

    Raises
    ------
    InputError
        When the scene cannot tell, with the reason.
    """
    largest = max(float(v[m].max()) for v, m in sample if m.any())
    bits = 8 if dtype.itemsize == 1 else int(np.clip(math.ceil(math.log2(max(largest, 1) + 1)), 8, 16))
    profile, report = estimate_sensor(sample, descriptions, bits, mtf_nyquist=options.mtf_nyquist)
    return sensor_profile(profile, options), report


def prepare(paths: ScenePaths, sensor: Sensor, options: RestoreOptions) -> Job:
    """Open and check everything; nothing is written.

    Raises
    ------
    InputError
        For whatever cannot be used, with the reason.
    """
    paths, unspread = options.outputs_of(paths)
    product, estimated = find_scene(paths.input), sensor == ESTIMATE
    known = None if estimated else sensor_profile(sensor, options, product)
    options.check()
    paths.check(options.samples, estimated=estimated)
    scene = Scene(paths.input, options.bands, virtual=None if product is None else product.assembly.virtual())
    try:
        paths.check_sources(scene.files, options.samples)
        notes = unspread + (list(product.notes) if product else [])
        if known is None:
            profile, report = estimated_profile(scene.sample(_ESTIMATED_FROM), scene.dtype, scene.descriptions, options)
            notes += report
        else:
            profile = known
        profile.match(scene.descriptions)
        sample = scene.sample()
        if profile.state != "raw" and not product and not estimated:
            notes.append(f"{profile.name} is a delivered product: {profile.title}")
        largest = max(float(v[m].max()) for v, m in sample)
        profile, full_scale, remarks = stored_range(profile, scene.dtype, largest, ESTIMATE if estimated else options.noise)
        bands = scene_bands(profile, scene.descriptions, sample, options.noise)
        notes += remarks + check_signal(bands, sample)
        if not estimated:  # a report of its own says so
            notes += [_noise_note(b) for b in bands if b.noise and b.noise.source.startswith("estimated")]
        decision = decide(options, bands, full_scale, sample)
        notes += decision.notes
        method = decision.method
        tile, halo = _tile_and_halo(scene, bands, method, options)
        plan = TilePlan(
            options.scale * scene.height, options.scale * scene.width, tile, window_margin(bands, method.border, options.scale),
            method.room, halo, method.step,
        )  # fmt: skip
    except BaseException:
        scene.source.close()
        raise
    return Job(scene, profile, bands, method, decision.fitters, plan, options, paths, notes, estimated, decision.distance)


def _noise_note(band: Band) -> str:
    noise = band.noise
    return "" if noise is None else f"noise of band {band.name} estimated: sigma0 {noise.sigma0:.3g}, gain {noise.gain:.3g}"


def plan_scene(paths: ScenePaths, sensor: Sensor, options: RestoreOptions) -> dict[str, Any]:
    """What a restoration would do, without doing it: outputs, tiles, windows, decoder work, temporary disk space.

    Parameters
    ----------
    paths, sensor, options
        As of `imaging.restore_scene`.

    Returns
    -------
    dict
        Sizes in pixels of the outputs, ``disk_mb`` in MB, ``notes`` for the user; what the command shows with ``--dry-run``.

    Raises
    ------
    InputError
        When something given cannot be used.
    """
    job = prepare(paths, sensor, options)
    with job.scene:
        tiles = job.plan.tiles()
        windows = sum(t.window.height * t.window.width for t in tiles)
        return {
            "input": str(paths.input), "outputs": [str(p) for p in job.outputs], "sensor": job.profile.name,
            "prior": job.method.name, "method": job.method.kind, "width": job.grid.width, "height": job.grid.height,
            "bands": list(job.scene.bands), "tiles": len(tiles), "largest_window": max(max(t.window.height, t.window.width) for t in tiles),
            "window_megapixels": windows / 1e6, "tile": job.plan.side, "halo": job.plan.halo,
            "iterations": job.method.steps, "rate_scale": [round(f.scale, 4) for f in job.fitters],
            "disk_mb": round(job.disk_need / 1e6, 1), "notes": job.notes,
        }  # fmt: skip


def disk_need(grid: Scene, per_pixel: int) -> float:
    """Bytes of temporaries and outputs, at most, with so many bytes for a pixel of each band in all outputs."""
    return 3.0 * grid.width * grid.height * len(grid.bands) * per_pixel + 1e5


def check_disk(outputs: Iterable[Path], need: float) -> None:
    """Refuse to begin what the disks of the outputs surely cannot hold; ``need`` is `disk_need`."""
    for folder in {p.parent for p in outputs}:
        usage = shutil.disk_usage(folder)
        if usage.total and usage.free < need / 3:
            raise InputError(f"the disk of {folder} is full: {usage.free / 1e6:.1f} MB are free, about {need / 1e6:.1f} MB are needed")


def state_of(path: Path, scene: Scene) -> dict[str, list[int] | None]:
    """Size and time of each file that pixels come from; statistics and overviews may appear beside them at any time."""
    given = [] if path.is_dir() else [path]
    files = given + [f for f in scene.files if f.suffix.lower() not in {".xml", ".ovr"}]
    return {str(f.absolute()): [f.stat().st_size, f.stat().st_mtime_ns] if f.exists() else None for f in files}


def fingerprint(job: Job) -> dict[str, Any]:
    """What two runs must share for one to take over the other's finished tiles."""
    options = {k: v for k, v in asdict(job.options).items() if k not in {"batch", "device"}}
    bands = [[b.name, b.mtf.psf().round(12).tolist(), asdict(b.noise) if b.noise else None] for b in job.bands]
    return {
        "input": [str(job.paths.input.absolute()), state_of(job.paths.input, job.scene)], "options": json.loads(json.dumps(options)),
        "bands": bands, "bits": job.profile.bits, "prior": [job.method.kind, job.method.digest, job.method.record()],
        "plan": [job.plan.side, job.plan.halo], "version": imaging.__version__,
        "uncertainty": job.paths.uncertainty,
    }  # fmt: skip
