"""Does the sensor profile fit the scene? Its noise against the scene's own, and what a posterior draw leaves of the measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import InputError
from imaging.raster import Area
from imaging.report.layers import shuffled
from imaging.restoration import Restoration
from imaging.sensors import Noise, NoiseEstimate, estimate_noise, sensor_physics

LAGS = 3
AGREES = 1.25
"""Largest factor between the noise of the profile and of the scene that counts as agreement, besides twice the standard error."""
WHITE = 0.2
"""Largest autocorrelation of a draw's residual that counts as white."""
EXPLAINED = (0.67, 1.6)
"""Variance of a draw's residual over the profile's that the posterior's own width may explain."""
_CLASSES, _SIDE, _DRAWS, _LOOKED_AT = 10, 192, 2, 16
_LEAST = 1e-12
"""Of variances, stored units."""

Places = list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Residual:
    r"""What a posterior draw :math:`x` leaves of the measurement, :math:`r = y - Hx`, against the noise variance :math:`\sigma^2(Hx)`.

    If scene, sensor and posterior are as modelled, :math:`(x, y)` is a draw of the model, so that :math:`r` is white and has the profile's
    variance (posterior predictive check, Gelman et al., Bayesian Data Analysis, 2013, chapter 6). The posterior mean has no such property:
    its residual is smaller and correlated, for it follows a part of the noise.

    ``levels`` are the mean signals of brightness classes of equal size, ``measured`` and ``profile`` the variances there of the residual
    and of the noise model, all ``(classes,)`` in stored units. ``ratio`` is the mean of :math:`r^2 / \sigma^2`. ``correlation``,
    ``(2 LAGS + 1, 2 LAGS + 1)``, is the autocorrelation of :math:`r / \sigma` by shift along rows and columns, 1 in the middle.
    """

    levels: NDArray[np.float64]
    measured: NDArray[np.float64]
    profile: NDArray[np.float64]
    ratio: float
    correlation: NDArray[np.float64]
    pixels: int

    @property
    def colour(self) -> float:
        """Largest autocorrelation beside the middle."""
        around = self.correlation.copy()
        around[LAGS, LAGS] = 0
        return float(np.abs(around).max())


@dataclass(frozen=True)
class BandCheck:
    """The check of one band; ``noise`` is the profile's.

    ``scene`` is the scene's own, or None where that cannot be told, for the ``reason``. ``residual`` is None for methods without a
    posterior, and where too little was measured. ``own`` says that the profile's noise was estimated from this very scene, so that both
    agree by construction.
    """

    noise: Noise
    scene: NoiseEstimate | None
    residual: Residual | None
    reason: str = ""
    own: bool = False

    @property
    def factor(self) -> float | None:
        """Noise standard deviation of the scene over the profile's, at the scene's median level."""
        if self.scene is None:
            return None
        return self.scene.std / float(np.sqrt(self.noise.variance(self.scene.level)))

    @property
    def agrees(self) -> bool | None:
        """Whether the profile's noise is the scene's, within `AGREES`; None where it cannot be told.

        That is where there is no estimate, where the noise is coloured or was itself estimated from the scene, and where a factor beyond
        `AGREES` is still within twice the standard error of the estimate.
        """
        if self.scene is None or self.factor is None or self.scene.coloured or self.own:
            return None
        if 1 / AGREES < self.factor < AGREES:
            return True
        allowed = 1 + 2 * self.error
        return None if 1 / allowed < self.factor < allowed else False

    @property
    def error(self) -> float:
        """Relative standard error of the scene's noise."""
        return 0.0 if self.scene is None else self.scene.std_error / max(self.scene.std, 1e-12)


def check_bands(job: Restoration) -> list[BandCheck]:
    """Check each band of a scene that is still open; restores two squares anew, for a draw each, where the method has a posterior."""
    sample = job.scene.sample(512, 8)
    residuals, given = _residuals(job), job.profile.match(job.scene.descriptions)
    found = []
    for index, band in enumerate(job.bands):
        if band.noise is None:
            raise ValueError(f"band {band.name} has no noise model")
        scene, reason = None, ""
        try:
            scene = estimate_noise(sample, index, band.noise.offset)
        except InputError as error:
            reason = str(error).partition(";")[0]
        own = job.estimated or band.noise != given[index].noise
        found.append(BandCheck(band.noise, scene, residuals[index], reason, own))
    return found


def _residuals(job: Restoration) -> list[Residual | None]:
    places: list[Places] = [[] for _ in job.bands]
    if not job.options.is_point:
        for area in _squares(job):
            for index, one in _draw(job, area):
                places[index].append(one)
    noises = [b.noise for b in job.bands]
    return [residual_of(p, n) if n is not None else None for p, n in zip(places, noises, strict=True)]


def _squares(job: Restoration) -> list[Area]:
    """The squares with the most valid pixels among some that are spread over the scene."""
    areas = [a for a in job.scene.blocks(_SIDE) if min(a.height, a.width) >= _SIDE // 2] or job.scene.blocks(_SIDE)
    return sorted(shuffled(areas)[:_LOOKED_AT], key=lambda a: -int(job.scene.read(a)[1].sum()))[:_DRAWS]


def _draw(job: Restoration, area: Area) -> list[tuple[int, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]]:
    """By band: residual of a draw, noise-free measurement of it, both stored units, and where there is one; ``(H, W)``."""
    scale, stride = job.options.scale, job.method.stride
    plan = replace(job.plan, height=scale * area.height, width=scale * area.width, side=_SIDE * scale, halo=0)
    tile = plan.tiles()[0]
    window = plan.measured(tile)
    row, column = (place - place % plan.step for place in (scale * area.row, scale * area.column))
    measured = Area((row + window.row) // scale, (column + window.column) // scale, window.height // scale, window.width // scale)
    first = plan.origin(tile, stride)
    origin = (first[0] + row // stride, first[1] + column // stride)
    values, valid = job.scene.read(measured)
    found = []
    for fitter in job.fitters:
        drawn = fitter(values[None, fitter.indices], valid[None, fitter.indices], [origin], 1, None)["sample_000"][0]
        bands = tuple(job.bands[i] for i in fitter.indices)
        offset = np.array([b.noise.offset if b.noise else 0.0 for b in bands])[:, None, None]
        physics = sensor_physics(bands, 1.0, fitter.physics.margin, scale).double()
        signal = physics.A(torch.from_numpy(drawn - offset).double()[None])[0].numpy() + offset
        for k, index in enumerate(fitter.indices):
            found.append((index, (values[index] - signal[k], signal[k], valid[index])))
    return found


def residual_of(places: Places, noise: Noise) -> Residual | None:
    """The check of one band, from residuals ``(H, W)``, signals and where both are known; None with fewer than 1000 pixels."""
    if not places:
        return None
    residual, signal = (np.concatenate([p[k][p[2]] for p in places]) for k in (0, 1))
    if residual.size < 100 * _CLASSES:
        return None
    variance = np.maximum(noise.variance(signal), _LEAST)
    classes = np.array_split(np.argsort(signal), _CLASSES)
    normal = [np.where(known, r / np.sqrt(np.maximum(noise.variance(s), _LEAST)), np.nan) for r, s, known in places]
    return Residual(
        levels=np.array([signal[c].mean() for c in classes]), measured=np.array([np.square(residual[c]).mean() for c in classes]),
        profile=np.array([variance[c].mean() for c in classes]), ratio=float((np.square(residual) / variance).mean()),
        correlation=autocorrelation(normal), pixels=int(residual.size),
    )  # fmt: skip


def autocorrelation(fields: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Autocorrelation of zero-mean fields ``(H, W)``, NaN where unknown, for shifts up to `LAGS` along rows and columns."""
    found = np.ones((2 * LAGS + 1,) * 2)
    for row in range(LAGS + 1):
        for column in range(-LAGS, LAGS + 1):
            if (row, column) > (0, 0):
                products = [_shifted(f, row, column) for f in fields]
                a, b = (np.concatenate([p[k] for p in products]) for k in (0, 1))
                value = (a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-30)
                found[LAGS + row, LAGS + column] = found[LAGS - row, LAGS - column] = value
    return found


def _shifted(field: NDArray[np.float64], row: int, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of pairs of known pixels that lie so many rows and columns apart."""
    height, width = field.shape
    a = field[row:, max(column, 0) : width + min(column, 0)].ravel()
    b = field[: height - row, max(-column, 0) : width + min(-column, 0)].ravel()
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]
