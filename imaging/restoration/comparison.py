"""A restored scene against its truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imaging.errors import InputError
from imaging.metrics import coverage, psnr
from imaging.raster import Scene
from imaging.restoration.engine import Engine
from imaging.restoration.paths import same_file

_BLOCK = 1024


def check_reference(engine: Engine, path: Path) -> None:
    """Refuse, before anything is written, a reference that cannot serve.

    `InputError` when it is one of the outputs, has another size, cannot be read to its end or shares no valid pixel with the scene.
    """
    for output in engine.outputs:
        if same_file(output, path):
            raise InputError(f"the output {output} is the reference itself; choose another --output")
    with Scene(path) as truth:
        scene = engine.grid
        if (truth.width, truth.height, len(truth.bands)) != (scene.width, scene.height, len(scene.bands)):
            what = "the scene" if engine.scale == 1 else f"the scene at scale {engine.scale}"
            raise InputError(
                f"the reference {path} has {truth.width} x {truth.height} pixels and {len(truth.bands)} bands, "
                f"{what} {scene.width} x {scene.height} and {len(scene.bands)}"
            )
        shared = [bool((truth.read(b)[1] & scene.read(b)[1]).any()) for b in scene.blocks(_BLOCK)]
    if not any(shared):
        raise InputError(f"the reference {path} has no valid pixel where the scene has one")


def compare(engine: Engine, reference: Path) -> dict[str, float]:
    """PSNR before and after and coverage, over pixels valid in both, all blocks together; before, at scale 2, means pixels repeated."""
    reflectance = engine.scene.dtype.kind == "f" and engine.full_scale <= 2
    peak = 1.0 if reflectance else engine.largest  # of the sensor, also where the scene hardly uses it
    std_path = engine.paths.std_path
    squares, inside, count = np.zeros(2), np.zeros(2), 0
    with Scene(reference) as truth, Scene(engine.paths.restored_path) as after:
        std = Scene(std_path) if std_path else None
        grid = engine.grid
        for block in grid.blocks(_BLOCK):
            (x, good), (y, valid), (r, _) = truth.read(block), grid.read(block), after.read(block)
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
