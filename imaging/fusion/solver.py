"""Solving the Gaussian model of a bundle, frequency by frequency."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from imaging.sensors.physics import SensorPhysics, spread
from imaging.sensors.wiener import scene_spectrum


class GaussianModel(Protocol):
    """What is solved: see `imaging.fusion.gaussian.CrossBandGaussian`."""

    @property
    def sharp(self) -> SensorPhysics:
        """Of the K sharp bands."""

    @property
    def coarse(self) -> SensorPhysics:
        """Of the M coarse bands."""

    @property
    def covariance(self) -> Tensor:
        """Of all bands, the sharp ones first."""

    @property
    def ratio(self) -> int:
        """Sharp pixels to a coarse one."""

    @property
    def bands(self) -> int:
        """K."""

    @property
    def level(self) -> Tensor:
        """Mean signal."""

    @property
    def noises(self) -> tuple[Tensor, Tensor]:
        """Variances of both."""


class Solver:
    """The Gaussian posterior of a bundle on a periodic grid of ``size`` sharp pixels, one contrast at a time.

    First the sharp bands are taken in, frequency by frequency; then the coarse ones, each frequency of which holds ``ratio ** 2`` of the
    scene's: two small systems in place of one large one. Both are in double precision: at low frequencies the sharp bands leave a
    ten-millionth of what they see.
    """

    def __init__(self, model: GaussianModel, size: tuple[int, int]) -> None:
        self.model, self.size = model, size
        device = model.sharp.psf.device
        rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
        radius = torch.hypot(rows[:, None].double(), columns[None].double()).to(device)
        self.spectrum = scene_spectrum(radius, model.level.to(radius).reshape(1, 1))
        self.fine, self.low = (p.transfer(size, p.psf.double())[0] for p in (model.sharp, model.coarse))

    def _after_sharp(self, contrast: float) -> tuple[Tensor, Tensor]:
        """Gain ``(C, K, h, w)`` of the sharp bands' transforms, and covariance ``(C, C, h, w)`` of what they leave."""
        m, k = self.model, self.model.bands
        power = contrast * self.spectrum
        s = m.covariance.to(power)
        noise = m.noises[0].to(power)
        cross = s[:, :k, None, None] * power * self.fine.conj()  # of the scene and the sharp bands
        if k == 1:
            seen = s[0, 0] * power * self.fine[0].abs().square() + noise[0]
            gain = cross / seen
        else:
            inner = self.fine[:, None] * cross[:k]
            inner = inner.movedim((0, 1), (-2, -1)) + torch.diag_embed(noise).to(inner)
            gain = torch.linalg.solve(inner.mT, cross.movedim((0, 1), (-1, -2))).movedim((-1, -2), (0, 1))
        left = s[..., None, None] * power - torch.einsum("ckhw,dkhw->cdhw", gain, cross.conj()).real
        return gain, left

    def _folded(self, x: Tensor) -> Tensor:
        """Sum over the frequencies that coarse pixels cannot tell apart of a transform ``(..., H, W // 2 + 1)`` of something real."""
        r, (rows, columns) = self.model.ratio, self.size
        mirror = x[..., 1 : (columns + 1) // 2].conj().flip(-1)
        mirror = torch.cat([mirror[..., :1, :], mirror[..., 1:, :].flip(-2)], -2)
        full = torch.cat([x, mirror], -1)
        folded = full.reshape(*full.shape[:-2], r, rows // r, r, columns // r).sum((-4, -2))
        return folded[..., : columns // r // 2 + 1]

    def _system(self, left: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-covariance ``(C, M, h, w)`` of what is left with the coarse bands, and their covariance ``(h', w', M, M)``."""
        k, r, count = self.model.bands, self.model.ratio, len(self.low)
        cross = left[:, k:] * self.low.conj()
        i, j = torch.triu_indices(count, count)  # of a Hermitian matrix
        folded = self._folded(self.low[i] * cross[k + i, j]).movedim(0, -1) / r**2
        seen = folded.new_empty(*folded.shape[:-1], count, count)
        seen[..., j, i], seen[..., i, j] = folded.conj(), folded
        return cross, seen + torch.diag_embed(self.model.noises[1]).to(seen)

    def mean(self, contrast: float, fine: Tensor, low: Tensor) -> Tensor:
        """Posterior mean ``(B, C, H, W)`` from the transform of the sharp bands and the coarse ones, both without their means."""
        r, k, (rows, columns) = self.model.ratio, self.model.bands, self.size
        dtype, fine, low = low.dtype, fine.to(self.fine), low.double()
        gain, left = self._after_sharp(contrast)
        cross, seen = self._system(left)
        first = torch.einsum("ckhw,bkhw->bchw", gain, fine)
        expected = torch.fft.irfft2(first[:, k:] * self.low, s=self.size)[..., ::r, ::r]
        lacking = torch.fft.rfft2(low - expected)
        solved = torch.linalg.solve(seen, lacking.movedim(1, -1)[..., None])[..., 0].movedim(-1, 1)
        whole = torch.fft.rfft2(spread(torch.fft.irfft2(solved, s=(rows // r, columns // r)), r))
        found: Tensor = torch.fft.irfft2(first + torch.einsum("cmhw,bmhw->bchw", cross, whole), s=self.size).to(dtype)
        return found

    def error_spectrum(self, contrast: float) -> Tensor:
        """Power spectrum ``(C, H, W // 2 + 1)`` of the errors that the posterior leaves, a mean over a pixel's places in a coarse one."""
        r, columns = self.model.ratio, self.size[1]
        _, left = self._after_sharp(contrast)
        cross, seen = self._system(left)
        inverse = torch.linalg.inv(seen).movedim((-2, -1), (0, 1))
        width = columns // r
        place = torch.arange(columns // 2 + 1) % width
        mirrored = place > width // 2
        half = torch.where(mirrored, width - place, place)
        tiled = inverse[..., half]
        flipped = tiled.conj().roll(-1, -2).flip(-2)
        tiled = torch.where(mirrored.to(tiled.device), flipped, tiled).repeat(1, 1, r, 1)
        known = torch.einsum("cmhw,mnhw,cnhw->chw", cross, tiled, cross.conj()).real / r**2
        return (left.diagonal(dim1=0, dim2=1).movedim(-1, 0) - known).clamp(min=0)


class PanSolver(Solver):
    """The same for one sharp band, in a third of the time, and more exactly: what that leaves has few terms, and none is a difference.

    With the spectrum P of a contrast, the covariance S of the bands and its column s of the sharp band, whose transfer function is H and
    noise is v, it leaves ``P (S - s s^T / s_0) + h s s^T``, ``h = P / s_0 v / (P |H|^2 s_0 + v)``. Bands of one kernel share all else.
    """

    def __init__(self, model: GaussianModel, size: tuple[int, int]) -> None:
        super().__init__(model, size)
        kernels, kinds = model.coarse.psf[0], list[int]()
        for kernel in kernels:
            kinds.append(next((k for k in kinds if torch.equal(kernels[k], kernel)), len(kinds)))
        self._kinds = kinds  # of each coarse band the first one with its kernel
        first = sorted(set(kinds))
        self._pairs = [(i, j) for i in first for j in first if i <= j]
        self._known = {pair: self._folded(self._product(pair) * self.spectrum) for pair in self._pairs}
        s = model.covariance.double()
        self._column, self._rest = s[:, 0], s - s[:, :1] * s[:1] / s[0, 0]

    def _product(self, pair: tuple[int, int]) -> Tensor:
        found = self.low[pair[0]] * self.low[pair[1]].conj()
        return found.real if pair[0] == pair[1] else found

    def _seen(self, contrast: float, left: Tensor) -> Tensor:
        """Covariance ``(h', w', M, M)`` of the coarse bands given the sharp one, which leaves ``left`` of itself."""
        r, kinds, s, rest = self.model.ratio, self._kinds, self._column, self._rest
        parts = {p: (contrast * self._known[p] / r**2, self._folded(self._product(p) * left) / r**2) for p in self._pairs}
        like = parts[self._pairs[0]][0]
        seen = torch.empty(*like.shape, len(kinds), len(kinds), dtype=self.low.dtype, device=like.device)
        for i, first in enumerate(kinds, start=1):
            for j, second in enumerate(kinds, start=1):
                whole, lost = parts[min(first, second), max(first, second)]
                found = rest[i, j] * whole + s[i] * s[j] * lost
                seen[..., i - 1, j - 1] = found.conj() if first > second else found
        return seen + torch.diag_embed(self.model.noises[1]).to(seen)

    def mean(self, contrast: float, fine: Tensor, low: Tensor) -> Tensor:
        """See `Solver.mean`; only what cancels is in double precision."""
        r, s, rest, dtype, (rows, columns) = self.model.ratio, self._column, self._rest, fine.dtype, self.size
        power, noise = contrast * self.spectrum, self.model.noises[0].to(self.spectrum)
        weighted = power / (s[0] * power * self.fine[0].abs().square() + noise)
        left = weighted * noise / s[0]
        first = (self.fine[0].conj() * weighted).to(dtype) * fine[:, 0]
        blurred = {k: torch.fft.irfft2(first * self.low[k].to(dtype), s=self.size)[..., ::r, ::r] for k in set(self._kinds)}
        expected = torch.stack([float(s[m]) * blurred[k] for m, k in enumerate(self._kinds, start=1)], 1)
        lacking = torch.fft.rfft2((low - expected).double())
        solved = torch.linalg.solve(self._seen(contrast, left), lacking.movedim(1, -1)[..., None])[..., 0].movedim(-1, 1)
        whole = self.low.conj() * torch.fft.rfft2(spread(torch.fft.irfft2(solved, s=(rows // r, columns // r)), r))
        first = first + (left * torch.einsum("m,bmhw->bhw", s[1:].to(whole), whole)).to(dtype)
        found = [torch.fft.irfft2(float(s[0]) * first, s=self.size)]  # nothing is left of the sharp band beside itself
        for c in range(1, len(s)):
            moved = (power * torch.einsum("m,bmhw->bhw", rest[c, 1:].to(whole), whole)).to(dtype)
            found.append(torch.fft.irfft2(float(s[c]) * first + moved, s=self.size))
        return torch.stack(found, 1)


def solver_of(model: GaussianModel, size: tuple[int, int]) -> Solver:
    """What suits the number of sharp bands."""
    return (PanSolver if model.bands == 1 else Solver)(model, size)
