"""What is done with a scene, window by window: the interface of engines, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imaging.raster import Area, Magnified, Output, Scene, Tile, as_stored
from imaging.restoration.paths import ScenePaths, check_paths, check_sources
from imaging.sensors import ProductScene, find_scene
from imaging.version import __version__

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """Tiles with windows of one shape that are worked on together, and what is stored of them.

    ``values`` and ``valid`` are ``(B, C, h, w)``, what is measured in the windows and where it is valid; ``cores`` and ``shown`` are ``(C,
    H, W)`` for each tile, what its core stores, in the scene's type, and where that is valid.
    """

    tiles: list[Tile]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    cores: list[NDArray[Any]]
    shown: list[NDArray[np.bool_]]

    def part(self, where: slice) -> Batch:
        """Some of the tiles."""
        return Batch(self.tiles[where], self.values[where], self.valid[where], self.cores[where], self.shown[where])


class Engine(ABC):
    """One open scene, and what is done with its windows; everything is decided before the first one.

    ``with`` closes its scene. ``full_scale`` is the stored value that counts as 1, ``largest`` the largest whole number that is stored
    unless the scene itself exceeds it, ``scale`` pixels of the outputs to one measured pixel along each side. ``tiles`` are on the grid of
    the outputs; ``batch`` of them are worked on together, each in as many steps as ``passes``, which progress counts. ``samples`` of the
    posterior are written, and the sensor's profile where it was ``estimated``. Where bands are seen ``together``, a pixel that one of them
    lacks is none.
    """

    scene: Scene
    paths: ScenePaths
    tiles: list[Tile]
    notes: list[str]
    full_scale: float
    largest: float
    verb = "restored"
    scale = 1
    samples = 0
    estimated = False
    batch = 1
    passes = 1
    together = False
    result_type: Any = None
    """Class of the result, where it is none of `SceneResult` alone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the scene."""
        self.scene.close()

    @abstractmethod
    def measured(self, tile: Tile) -> Area:
        """The stored pixels that a tile's result depends on; they may reach beyond the scene."""

    @abstractmethod
    def work(self, batch: Batch, step: Callable[[int], None]) -> list[Arrays]:
        """Arrays ``(C, H, W)`` of each tile's core in stored units, not rounded, by name; ``restored`` is among them.

        ``step`` is called after each of a tile's `passes`.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What two runs must share for one to take over the other's finished tiles, beside the input: plain data."""

    @abstractmethod
    def tags(self) -> dict[str, str]:
        """Settings written to the outputs."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Fields of a `SceneResult` that only the engine knows: ``sensor``, ``prior``, ``method``, ``iterations``, ``seed``."""

    def sidecars(self, folder: Path, rasters: list[Path]) -> list[tuple[Path, Path]]:
        """Write further files into a folder, given those of `rasters` that are written; with their places."""
        return []

    @property
    def grid(self) -> Scene:
        """The scene on the grid of the outputs."""
        return self.scene if self.scale == 1 else Magnified(self.scene, self.scale)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that will be written."""
        return tuple(self.paths.outputs(self.samples, estimated=self.estimated))

    @property
    def disk_need(self) -> float:
        """Bytes of temporaries and outputs, at most."""
        grid = self.grid
        per_pixel = self.scene.dtype.itemsize * (1 + self.samples) + (4 if self.paths.uncertainty else 0)
        return 3.0 * grid.width * grid.height * len(grid.bands) * per_pixel + 1e5

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a run to be continued, and at its end: input, settings and version."""
        source = self.paths.input
        given = [] if source.is_dir() else [source]
        # Statistics and overviews may appear beside the files that pixels come from at any time.
        files = given + [f for f in self.scene.files if f.suffix.lower() not in {".xml", ".ovr"}]
        state = {str(f.absolute()): [f.stat().st_size, f.stat().st_mtime_ns] if f.exists() else None for f in files}
        return {
            "input": [str(source.absolute()), state],
            "version": __version__,
            "outputs": self.paths.uncertainty,
        } | self.settings()

    def rasters(self) -> list[Output]:
        """The output rasters in the order of their publication; the restored scene, last, says that all are there."""
        scene, paths = self.scene, self.paths
        tags = self.tags()

        def like_the_scene(path: Path, array: str) -> Output:
            return Output(path, array, scene.bands, scene.alpha, str(scene.dtype), scene.nodata, True, tags)

        found = [like_the_scene(paths.sample_path(k), f"sample_{k:03d}") for k in range(self.samples)]
        if paths.std_path is not None:
            quantity = {"IMAGING_QUANTITY": "posterior standard deviation of the restored values, in stored units"}
            like = (paths.std_path, "std", scene.bands, (), "float32", np.nan, False, tags | quantity, "DN", "standard deviation")
            found.insert(0, Output(*like))
        return [*found, like_the_scene(paths.restored_path, "restored")]

    def read(self, tiles: list[Tile]) -> Batch:
        """Read a batch."""
        windows = [self.scene.read(self.measured(t)) for t in tiles]
        if self.together:
            windows = [(values, np.broadcast_to(valid.all(0), valid.shape)) for values, valid in windows]
        cores = [self.grid.read_raw(t.core, self.scene.bands) for t in tiles]
        shown = [self._shown(t, valid) for t, (_, valid) in zip(tiles, windows, strict=True)]
        return Batch(tiles, np.stack([v for v, _ in windows]), np.stack([m for _, m in windows]), cores, shown)

    def _shown(self, tile: Tile, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Validity of a tile's core on the grid of the outputs, from that of its measured pixels."""
        core, measured, s = tile.core, self.measured(tile), self.scale
        row, column = core.row - s * measured.row, core.column - s * measured.column
        return valid.repeat(s, 1).repeat(s, 2)[:, row : row + core.height, column : column + core.width]

    def stored(self, original: NDArray[Any], valid: NDArray[np.bool_], arrays: Arrays) -> Arrays:
        """Arrays of a core in the types of the outputs; invalid pixels keep what the scene stores, ``original``."""
        found = {}
        for name, array in arrays.items():
            if name != "std":
                values = as_stored(array, original, self.scene.nodata, self.largest)
                found[name] = np.where(valid, values, original).astype(original.dtype)
            elif self.paths.uncertainty:
                found[name] = np.where(valid, array, np.nan).astype(np.float32)
        return found


def open_scene(
    paths: ScenePaths, bands: tuple[int, ...] | None, samples: int = 0, *, estimated: bool = False
) -> tuple[Scene, ProductScene | None]:  # fmt: skip
    """Open a scene, a raster or that of a product, once its outputs are found to destroy nothing.

    `InputError` with what is wrong of either.
    """
    check_paths(paths, samples, estimated=estimated)
    product = find_scene(paths.input)
    scene = Scene(paths.input, bands, virtual=None if product is None else product.assembly.virtual())
    try:
        check_sources(paths, paths.outputs(samples, estimated=estimated), scene.files)
    except BaseException:
        scene.source.close()
        raise
    return scene, product
