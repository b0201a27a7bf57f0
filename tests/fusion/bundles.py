"""Small bundles whose posterior is known: scenes drawn from the Gaussian model, and its dense linear algebra on a periodic grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve
from torch import Tensor

from imaging.fusion import CrossBandGaussian
from imaging.fusion.gaussian import CONTRASTS
from imaging.fusion.solver import Solver
from imaging.sensors import SensorPhysics, SignalDependentNoise
from imaging.sensors.mtf import separable_psf
from imaging.sensors.wiener import scene_spectrum

TYPICAL = CONTRASTS.index(1.0)


def sensor(
    bands: int, nyquist: float, deviation: float, *, factor: int = 1, shift: tuple[float, float] = (0.0, 0.0), margin: int | None = None,
    gain: float = 0.0, radius: int | None = None,
) -> SensorPhysics:  # fmt: skip
    """Gaussian bands of one MTF at Nyquist, of constant noise unless there is a gain; kernels cut to a radius where one is given."""
    kernel = separable_psf("gaussian", (nyquist, nyquist), factor, shift)
    if radius is not None and radius < len(kernel) // 2:
        inner = slice(len(kernel) // 2 - radius, len(kernel) // 2 + radius + 1)
        kernel = kernel[inner, inner] / kernel[inner, inner].sum()
    psf = torch.from_numpy(kernel).float().expand(1, bands, -1, -1).contiguous()
    return SensorPhysics(psf, SignalDependentNoise(torch.full((bands,), deviation), torch.full((bands,), gain)), margin, factor)


def mixing(weights: Tensor, own: float = 0.3, beyond: float = 0.05) -> Tensor:
    """Covariance ``(K + M, K + M)`` of sharp bands of weights ``(K, M)`` and coarse ones that share most of their structure."""
    k, m = weights.shape
    coarse = torch.full((m, m), 1 - own) + own * torch.diag(torch.linspace(0.7, 1.4, m))
    cross = weights @ coarse
    found = torch.cat([torch.cat([cross @ weights.mT + beyond * torch.eye(k), cross], 1), torch.cat([cross.mT, coarse], 1)])
    return found / found.diagonal()[:k].mean()


def drawn(model: CrossBandGaussian, size: tuple[int, int], seed: int, contrast: float = 1.0) -> Tensor:
    """A scene of the model, ``(1, C, H, W)``, periodic."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(len(model.means), *size, generator=generator, dtype=torch.float64)
    mixed = torch.einsum("cd,dhw->chw", torch.linalg.cholesky(model.covariance.double()), white)
    scene = torch.fft.ifft2(torch.fft.fft2(mixed) * (contrast * spectrum(model, size)).sqrt()).real
    return (scene + model.means[:, None, None]).float()[None]


def spectrum(model: CrossBandGaussian, size: tuple[int, int]) -> Tensor:
    """Of the typical scene on all frequencies of a periodic grid, ``(H, W)``."""
    rows, columns = (torch.fft.fftfreq(n) for n in size)
    return scene_spectrum(torch.hypot(rows[:, None], columns[None]), model.level.reshape(1, 1)).double()


def measured(model: CrossBandGaussian, scene: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
    """What both sensors see of a scene without its margins, with noise where there is a seed; they must have one margin."""
    k = model.bands
    parts = [(model.sharp, scene[:, :k]), (model.coarse, scene[:, k:])]
    sharp, coarse = (p.A(x) if seed is None else p(x, seed=seed + n) for n, (p, x) in enumerate(parts))
    return sharp, coarse


@dataclass(frozen=True)
class Dense:
    """The model on a periodic grid as matrices: pixels of all bands against all measurements, sharp ones first."""

    model: CrossBandGaussian
    size: tuple[int, int]
    contrast: float = 1.0

    def prior(self) -> NDArray[np.float64]:
        """Kronecker product of the covariance of the bands and that of the pixels."""
        h, w = self.size
        row = np.fft.ifft2((self.contrast * spectrum(self.model, self.size)).numpy()).real
        r, c = (n.ravel() for n in np.mgrid[:h, :w])
        pixels = row[(r[:, None] - r[None]) % h, (c[:, None] - c[None]) % w]
        return np.kron(self.model.covariance.double().numpy(), pixels)

    def operator(self) -> NDArray[np.float64]:
        """Periodic convolutions and sampling, from what they make of unit images."""
        h, w = self.size
        k, r, count = self.model.bands, self.model.ratio, len(self.model.means)
        units = np.eye(h * w).reshape(-1, h, w)
        rows = []
        for band in range(count):
            physics, step = (self.model.sharp, 1) if band < k else (self.model.coarse, r)
            kernel = physics.psf[0, band if band < k else band - k].double().numpy()
            seen = convolve(units, kernel[None], mode="wrap")[:, ::step, ::step].reshape(h * w, -1).T
            rows.append(np.concatenate([seen if b == band else np.zeros_like(seen) for b in range(count)], 1))
        return np.concatenate(rows)

    def noise(self) -> NDArray[np.float64]:
        """Variance of each measurement."""
        h, w = self.size
        counts = (h * w, h * w // self.model.ratio**2)
        return np.concatenate([np.repeat(v.double().numpy(), n) for v, n in zip(self.model.noises, counts, strict=True)])

    def posterior(self, y: NDArray[np.float64], valid: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and covariance given measurements (less their means) where they are valid."""
        good = np.ones(len(y), bool) if valid is None else valid
        prior, seen = self.prior(), self.operator()[good]
        gain = np.linalg.solve(seen @ prior @ seen.T + np.diag(self.noise()[good]), seen @ prior).T
        return gain @ y[good], prior - gain @ seen @ prior


class Periodic(CrossBandGaussian):
    """The model on a periodic grid and of one contrast, as `Dense` has it."""

    def position(self, sharp: Tensor, mask: Tensor | None = None) -> Tensor:
        """That of the typical scene."""
        return torch.full_like(sharp[:, :1], float(TYPICAL))

    def each(self, sharp: Tensor, coarse: Tensor, wanted: Collection[int] = ()) -> Iterator[tuple[int, Tensor]]:
        """Without what lies around."""
        means = self.means.reshape(1, -1, 1, 1)
        k = self.bands
        solver = Solver(self, (sharp.shape[-2], sharp.shape[-1]))
        for index in sorted(wanted):
            yield index, solver.mean(CONTRASTS[index], torch.fft.rfft2(sharp - means[:, :k]), coarse - means[:, k:]) + means
