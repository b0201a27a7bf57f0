"""Restoring a file: plan, read, restore, write."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import imaging
from imaging.errors import InputError
from imaging.metrics import coverage, psnr
from imaging.posterior import FitSettings
from imaging.priors import LatentPrior, PriorInfo, load_prior
from imaging.priors.zoo import find_prior
from imaging.raster import Product, Scene, Tile, TilePlan, TileStore, publish, write_product
from imaging.restoration.fitting import Fitter, make_fitters, scene_bands, window_margin
from imaging.restoration.options import RestoreOptions, ScenePaths
from imaging.sensors import Band, SensorProfile, load_profile

HALO = 64
"""Measured pixels around a tile's core that take part in its fit."""
_BYTES_PER_PIXEL = 700  # of a window, while it is fitted; measured on a CPU, generous

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneResult:
    """What was done; the fields of the command's JSON object. Sizes in pixels, memory in MB, time in seconds."""

    input: str
    restored: str
    std: str | None
    sensor: str
    prior: str
    method: str
    scale: int
    width: int
    height: int
    bands: list[int]
    iterations: int
    seconds: float
    megapixels: float
    peak_memory_mb: float
    seed: int
    version: str
    notes: list[str]
    reference: dict[str, float] | None = None


@dataclass(frozen=True)
class _Job:
    """Everything decided before the first tile."""

    scene: Scene
    profile: SensorProfile
    bands: tuple[Band, ...]
    prior: LatentPrior
    prior_info: PriorInfo
    fitters: list[Fitter]
    plan: TilePlan
    options: RestoreOptions
    paths: ScenePaths
    notes: list[str]

    @property
    def batch(self) -> int:
        """Tiles to fit together."""
        if self.options.batch is not None:
            return self.options.batch
        if next(self.prior.parameters()).device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info()
        return max(1, int(0.8 * free / (_BYTES_PER_PIXEL * (self.plan.side + 2 * (HALO + self.plan.margin)) ** 2)))


def _radiometric_profile(
    scene: Scene, profile: SensorProfile, options: RestoreOptions, brightest: float, notes: list[str]
) -> SensorProfile:
    """The profile with a full scale that fits what the file stores."""
    eight_bit = scene.dtype.itemsize == 1
    if eight_bit and profile.bits > 8:
        if any(b.noise for b in profile.bands) and options.noise == "profile":
            raise InputError(
                f"the scene is 8-bit, sensor {profile.name} describes {profile.bits}-bit values, so its noise does not apply; "
                "use --noise estimate, --noise SIGMA0,GAIN or --sensor generic"
            )
        return replace(profile, bits=8)
    if brightest > 1.02 * profile.full_scale:
        notes.append(f"values reach {brightest:g}, above the sensor's {profile.full_scale:g}: does the sensor fit the scene?")
    if scene.dtype.kind == "f" and brightest <= 2 and options.noise == "profile" and any(b.noise for b in profile.bands):
        raise InputError(
            f"the scene's values end near {brightest:g}, the noise of sensor {profile.name} is in stored integers; "
            "use --noise estimate or --noise SIGMA0,GAIN in the scene's unit"
        )
    return profile


def _prepare(paths: ScenePaths, sensor: str | SensorProfile, options: RestoreOptions) -> _Job:
    profile = sensor if isinstance(sensor, SensorProfile) else load_profile(sensor)
    profile = profile.with_overrides(mtf_nyquist=options.mtf_nyquist, noise=None if isinstance(options.noise, str) else options.noise)
    device = options.torch_device()
    info = find_prior(options.prior)
    paths.check(options.samples)
    scene = Scene(paths.input, options.bands)
    try:
        profile.match(scene.descriptions)
        sample, notes = scene.sample(), [] if profile.state == "raw" else [f"{profile.name} is a delivered product: {profile.title}"]
        largest = max(float(v[m].max()) for v, m in sample)
        profile = _radiometric_profile(scene, profile, options, largest, notes)
        full_scale = profile.full_scale if scene.dtype.kind != "f" or largest > 2 else 1.0
        bands = scene_bands(profile, scene.descriptions, sample, options.noise)
        notes += [_noise_note(b) for b in bands if b.noise and b.noise.source.startswith("estimated")]
        prior = load_prior(options.prior, device)
        plan = TilePlan(scene.height, scene.width, options.tile, window_margin(bands, prior), HALO)
        fitters = make_fitters(bands, full_scale, sample, prior, options.fit_settings(), options.seed)
    except BaseException:
        scene.source.close()
        raise
    return _Job(scene, profile, bands, prior, info, fitters, plan, options, paths, notes)


def _noise_note(band: Band) -> str:
    noise = band.noise
    return "" if noise is None else f"noise of band {band.name} estimated: sigma0 {noise.sigma0:.3g}, gain {noise.gain:.3g}"


def plan_scene(paths: ScenePaths, sensor: str | SensorProfile, options: RestoreOptions) -> dict[str, Any]:
    """What a restoration would do, without doing it: outputs, tiles, windows, decoder work, temporary disk space."""
    job = _prepare(paths, sensor, options)
    with job.scene:
        tiles = job.plan.tiles()
        windows = sum(t.window.height * t.window.width for t in tiles)
        return {
            "input": str(paths.input), "outputs": [str(p) for p in paths.outputs(options.samples)], "sensor": job.profile.name,
            "prior": job.prior_info.name, "method": options.method, "width": job.scene.width, "height": job.scene.height,
            "bands": list(job.scene.bands), "tiles": len(tiles), "largest_window": max(max(t.window.height, t.window.width) for t in tiles),
            "window_megapixels": windows / 1e6, "iterations": options.iterations, "rate_scale": [round(f.scale, 4) for f in job.fitters],
            "disk_mb": round(_disk_need(job) / 1e6, 1), "notes": job.notes,
        }  # fmt: skip


def _disk_need(job: _Job) -> float:
    """Bytes of temporaries and outputs, at most."""
    per_pixel = job.scene.dtype.itemsize * (1 + job.options.samples) + (4 if job.paths.uncertainty else 0)
    return 3.0 * job.scene.width * job.scene.height * len(job.scene.bands) * per_pixel + 1e5


def _check_disk(job: _Job) -> None:
    for folder in {p.parent for p in job.paths.outputs(job.options.samples)}:
        free = shutil.disk_usage(folder).free
        if free < _disk_need(job) / 3:
            raise InputError(f"the disk of {folder} is full: {free / 1e6:.0f} MB are free, about {_disk_need(job) / 1e6:.0f} MB are needed")


def _fingerprint(job: _Job) -> dict[str, Any]:
    stat = job.paths.input.stat()
    options = {k: v for k, v in asdict(job.options).items() if k not in {"batch", "device"}}
    bands = [[b.name, b.mtf.psf().round(12).tolist(), asdict(b.noise) if b.noise else None] for b in job.bands]
    return {
        "input": [str(job.paths.input.absolute()), stat.st_size, stat.st_mtime_ns], "options": json.loads(json.dumps(options)),
        "bands": bands, "prior": job.prior_info.digest, "version": imaging.__version__, "uncertainty": job.paths.uncertainty,
    }  # fmt: skip


def _batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    """Runs of consecutive tiles with windows of one shape, at most ``size`` each."""
    run: list[Tile] = []
    for tile in tiles:
        same = bool(run) and (run[0].window.height, run[0].window.width) == (tile.window.height, tile.window.width)
        if run and (not same or len(run) == size):
            yield run
            run = []
        run.append(tile)
    if run:
        yield run


def _fit_batch(job: _Job, batch: list[Tile], step: Callable[[int], None]) -> list[dict[str, NDArray[Any]]]:
    """Stored arrays of each tile's core."""
    read = [job.scene.read(t.window.grow(-job.plan.margin)) for t in batch]
    values, valid = np.stack([v for v, _ in read]), np.stack([m for _, m in read])
    origins = [job.plan.origin(t, job.prior.stride) for t in batch]
    parts: list[list[dict[str, NDArray[Any]]]] = [[] for _ in batch]
    for fitter in job.fitters:
        arrays = fitter(values[:, fitter.indices], valid[:, fitter.indices], origins, job.options.samples, step)
        for k, tile in enumerate(batch):
            core, window = tile.core, tile.window
            cut = (slice(core.row - window.row, core.row - window.row + core.height),
                   slice(core.column - window.column, core.column - window.column + core.width))  # fmt: skip
            parts[k].append({name: array[k][(slice(None), *cut)] for name, array in arrays.items()})
    return [_to_stored(job, t, {n: np.concatenate([p[n] for p in ps]) for n in ps[0]}) for t, ps in zip(batch, parts, strict=True)]


def _to_stored(job: _Job, tile: Tile, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of a core in the types of the outputs; invalid pixels keep what the scene stores."""
    original = job.scene.read_raw(tile.core, job.scene.bands)
    _, valid = job.scene.read(tile.core)
    stored = {}
    for name, array in arrays.items():
        if name == "std":
            stored[name] = np.where(valid, array, np.nan).astype(np.float32)
        else:
            stored[name] = np.where(valid, _quantise(job, array, original), original).astype(original.dtype)
    return stored


def _quantise(job: _Job, array: NDArray[Any], original: NDArray[Any]) -> NDArray[Any]:
    """Round and clip to the stored range; a restored value never equals nodata by accident."""
    dtype = original.dtype
    if dtype.kind == "f":
        return array.astype(dtype)
    info = np.iinfo(dtype)
    largest = np.minimum(np.maximum(job.profile.full_scale, original.astype(float)), info.max)
    rounded = np.clip(np.rint(array), info.min, largest)
    nodata = job.scene.source.nodatavals[job.scene.bands[0] - 1]
    if nodata is not None and info.min <= nodata <= info.max:
        rounded = np.where(rounded == nodata, nodata + 1 if nodata < info.max else nodata - 1, rounded)
    return rounded


def _tags(job: _Job) -> dict[str, str]:
    """Settings written to the outputs."""
    mtf = {b.name: [*b.mtf.nyquist, b.mtf.target] for b in job.bands}
    noise = {b.name: [b.noise.sigma0, b.noise.gain, b.noise.offset] for b in job.bands if b.noise}
    return {
        "IMAGING_VERSION": imaging.__version__, "IMAGING_SENSOR": job.profile.name, "IMAGING_METHOD": job.options.method,
        "IMAGING_PRIOR": job.prior_info.name, "IMAGING_PRIOR_SHA256": job.prior_info.digest,
        "IMAGING_ITERATIONS": str(job.options.iterations), "IMAGING_SEED": str(job.options.seed),
        "IMAGING_MTF_NYQUIST_AND_TARGET": json.dumps(mtf), "IMAGING_NOISE": json.dumps(noise),
        "IMAGING_RATE_SCALE": json.dumps([round(f.scale, 6) for f in job.fitters]),
    }  # fmt: skip


def _products(job: _Job) -> list[Product]:
    scene, tags, dtype = job.scene, _tags(job), str(job.scene.dtype)
    nodata = scene.source.nodatavals[scene.bands[0] - 1]
    products = []
    if job.paths.std_path is not None:
        std_tags = tags | {"IMAGING_QUANTITY": "posterior standard deviation of the restored values, in stored units"}
        products.append(Product(job.paths.std_path, "std", scene.bands, (), "float32", np.nan, False, std_tags, "DN", "standard deviation"))
    for k in range(job.options.samples):
        products.append(Product(job.paths.sample_path(k), f"sample_{k:03d}", scene.bands, scene.alpha, dtype, nodata, True, tags))
    products.append(Product(job.paths.restored_path, "restored", scene.bands, scene.alpha, dtype, nodata, True, tags))
    return products


def restore_scene(
    paths: ScenePaths, sensor: str | SensorProfile, options: RestoreOptions | None = None, *, progress: Progress | None = None,
    reference: Path | None = None,
) -> SceneResult:  # fmt: skip
    """Restore one raster file into a GeoTIFF and its standard deviations.

    Parameters
    ----------
    paths : ScenePaths
        Input and outputs.
    sensor : str or SensorProfile
        Name of a profile, path of a TOML file, or a profile.
    options : RestoreOptions, optional
        Settings.
    progress : callable, optional
        Called with (finished, total) iterations.
    reference : Path, optional
        Truth on the same grid; the result then holds PSNR before and after, and interval coverage.

    Raises
    ------
    InputError
        When something given cannot be used; nothing is written then.
    """
    began, options = time.monotonic(), options or RestoreOptions()
    job = _prepare(paths, sensor, options)
    with job.scene:
        if reference is not None:
            _open_reference(job, reference).source.close()
        _check_disk(job)
        store = TileStore(paths.restored_path, _fingerprint(job))
        store.open(resume=paths.resume)
        try:
            _run_tiles(job, store, progress)
            tiles = job.plan.tiles()
            publish([(write_product(job.scene, p, tiles, store), p.path) for p in _products(job)])
        except Exception:
            store.discard()
            raise
        store.discard()
        figures = None if reference is None else _compare(job, reference)
    return _result(job, time.monotonic() - began, figures)


def _run_tiles(job: _Job, store: TileStore, progress: Progress | None) -> None:
    tiles = job.plan.tiles()
    per_tile = job.options.iterations * len(job.fitters)
    done, total = 0, len(tiles) * per_tile
    todo = [t for t in tiles if not store.has(t)]
    done += (len(tiles) - len(todo)) * per_tile
    size = job.batch
    pending = list(_batches(todo, size))
    while pending:
        batch = pending.pop(0)
        ticks = 0

        def step(_: int) -> None:
            nonlocal ticks
            ticks += 1
            if progress is not None:
                progress(done + ticks * len(batch), total)  # noqa: B023

        try:
            finished = _fit_batch(job, batch, step)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            torch.cuda.empty_cache()
            pending[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            continue
        for tile, arrays in zip(batch, finished, strict=True):
            if not job.paths.uncertainty:
                arrays.pop("std")
            store.put(tile, arrays)
        done += len(batch) * per_tile
    if progress is not None:
        progress(total, total)


def _open_reference(job: _Job, path: Path) -> Scene:
    truth = Scene(path)
    if (truth.width, truth.height, len(truth.bands)) != (job.scene.width, job.scene.height, len(job.scene.bands)):
        truth.source.close()
        raise InputError(
            f"the reference {path} has {truth.width} x {truth.height} pixels and {len(truth.bands)} bands, "
            f"the scene {job.scene.width} x {job.scene.height} and {len(job.scene.bands)}"
        )
    return truth


def _compare(job: _Job, reference: Path) -> dict[str, float]:
    """PSNR before and after and coverage, over valid pixels, averaged over blocks."""
    peak = job.fitters[0].radiometry.full_scale
    std_path = job.paths.std_path
    squares, inside, count = np.zeros(2), np.zeros(2), 0
    with _open_reference(job, reference) as truth, Scene(job.paths.restored_path) as after:
        std = Scene(std_path) if std_path else None
        for block in job.scene.blocks(1024):
            (x, good), (y, valid), (r, _) = truth.read(block), job.scene.read(block), after.read(block)
            good &= valid
            n = int(good.sum())
            if n == 0:
                continue
            count += n
            squares += [n * peak**2 / 10 ** (psnr(a, x, peak, good) / 10) for a in (y, r)]
            if std is not None:
                s, _ = std.read(block)
                inside += [n * coverage(r, s, x, level, good) for level in (0.90, 0.95)]
        if std is not None:
            std.source.close()
    before, restored = (10 * np.log10(peak**2 * count / np.maximum(squares, 1e-30))).tolist()
    figures = {"psnr_before": before, "psnr_after": restored}
    return figures | ({"coverage_90": inside[0] / count, "coverage_95": inside[1] / count} if std_path else {})


def _result(job: _Job, seconds: float, figures: dict[str, float] | None) -> SceneResult:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    std = job.paths.std_path
    return SceneResult(
        input=str(job.paths.input), restored=str(job.paths.restored_path), std=None if std is None else str(std), sensor=job.profile.name,
        prior=job.prior_info.name, method=job.options.method, scale=job.options.scale, width=job.scene.width, height=job.scene.height,
        bands=list(job.scene.bands), iterations=job.options.iterations, seconds=round(seconds, 2),
        megapixels=job.scene.width * job.scene.height / 1e6, peak_memory_mb=round(memory, 1), seed=job.options.seed,
        version=imaging.__version__, notes=job.notes, reference=figures,
    )  # fmt: skip


__all__ = ["FitSettings", "SceneResult", "plan_scene", "restore_scene"]
