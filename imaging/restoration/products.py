"""What is stored: fitted arrays in the types of the outputs, and the outputs with their tags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

import imaging
from imaging.raster import Output, as_stored
from imaging.restoration.planning import Job


def to_stored(job: Job, original: NDArray[Any], valid: NDArray[np.bool_], arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of a core in the types of the outputs; invalid pixels keep what the scene stores, ``original``."""
    stored = {}
    for name, array in arrays.items():
        if name == "std":
            stored[name] = np.where(valid, array, np.nan).astype(np.float32)
        else:
            stored[name] = np.where(valid, as_stored(array, original, job.scene.nodata, job.profile.full_scale), original).astype(
                original.dtype
            )
    return stored


def _tags(job: Job) -> dict[str, str]:
    """Settings written to the outputs."""
    mtf = {b.name: [*b.mtf.nyquist, b.mtf.target] for b in job.bands}
    noise = {b.name: [b.noise.sigma0, b.noise.gain, b.noise.offset] for b in job.bands if b.noise}
    record = job.method.record()
    widths = {"IMAGING_HALF_WIDTHS": json.dumps(record["half_widths"])} if "half_widths" in record else {}
    return widths | {
        "IMAGING_VERSION": imaging.__version__, "IMAGING_SENSOR": job.profile.name, "IMAGING_METHOD": job.method.kind,
        "IMAGING_PRIOR": job.method.name, "IMAGING_PRIOR_SHA256": job.method.digest,
        "IMAGING_ITERATIONS": str(job.method.steps), "IMAGING_SEED": str(job.options.seed),
        "IMAGING_TILE": str(job.plan.side), "IMAGING_SCALE": str(job.options.scale), "IMAGING_BANDS": json.dumps(job.scene.bands),
        "IMAGING_MTF_NYQUIST_AND_TARGET": json.dumps(mtf), "IMAGING_NOISE": json.dumps(noise),
        "IMAGING_CALIBRATION": json.dumps(record["calibration"]),
        "IMAGING_RATE_SCALE": json.dumps([round(f.scale, 6) for f in job.fitters]),
    }  # fmt: skip


def products(job: Job) -> list[Output]:
    """The outputs in the order of their publication; the restored scene, last, says that all are there."""
    scene, tags, dtype = job.scene, _tags(job), str(job.scene.dtype)
    found = []
    if job.paths.std_path is not None:
        std_tags = tags | {"IMAGING_QUANTITY": "posterior standard deviation of the restored values, in stored units"}
        found.append(Output(job.paths.std_path, "std", scene.bands, (), "float32", np.nan, False, std_tags, "DN", "standard deviation"))
    for k in range(job.options.samples):
        found.append(Output(job.paths.sample_path(k), f"sample_{k:03d}", scene.bands, scene.alpha, dtype, scene.nodata, True, tags))
    found.append(Output(job.paths.restored_path, "restored", scene.bands, scene.alpha, dtype, scene.nodata, True, tags))
    return found
