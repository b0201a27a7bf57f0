"""The Gaussian posterior of a bundle: bands that hang together, sharp and coarse ones solved at once, for scenes of several contrasts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.filters import filled_holes, taper
from imaging.fusion.solver import solver_of
from imaging.sensors.noise import SignalDependentNoise, noise_variance
from imaging.sensors.physics import SensorPhysics, good_size
from imaging.sensors.wiener import local_contrast, repeated, weight_at

CONTRASTS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0)
"""Power of a scene, relative to the typical spectrum, that posteriors are made for; ascending in powers of 4."""
_DESIGN = 32
"""Coarse pixels along a side of the grid on which expected deviations are found."""
_ROOM = 12
"""Coarse pixels around a window, into which the transforms wrap around."""
_REACH = 6
"""Of the kernels of errors, coarse pixels."""
_DEAF = 1e3
"""Deviation of noise from which on a band says nothing, image units."""
_FILLINGS = 3
"""How often what is missing is filled with what the posterior expects there."""


def present(position: Tensor) -> set[int]:
    """Contrasts that have a weight anywhere, of positions as `CrossBandGaussian.position` gives them."""
    return set(range(math.floor(float(position.min())), math.ceil(float(position.max())) + 1))


@dataclass(frozen=True)
class CrossBandGaussian:
    r"""Gaussian model of a scene of C bands, K of them measured sharply and the last M coarsely; C = K + M.

    The scene's spectrum is ``c`` times the typical one, `scene_spectrum`, times ``covariance``, which says how the bands hang together. A
    panchromatic band is one more band of the scene: its spectral weights and what it sees outside of the other bands' span follow from the
    covariance.

    Attributes
    ----------
    sharp, coarse : SensorPhysics
        Of the measured bands, in image units, shared by the items of a batch; the coarse one has the ratio as its factor.
    covariance : Tensor
        ``(C, C)``, the mean of the sharp bands' variances being 1.
    means : Tensor
        ``(C,)`` mean signals.
    """

    sharp: SensorPhysics
    coarse: SensorPhysics
    covariance: Tensor
    means: Tensor

    @property
    def ratio(self) -> int:
        """Sharp pixels to a coarse one along each side."""
        return self.coarse.factor

    @property
    def bands(self) -> int:
        """K, how many are measured sharply."""
        return self.sharp.psf.shape[1]

    @property
    def level(self) -> Tensor:
        """Mean signal of the sharp bands, by which the typical spectrum goes, ``(1,)``."""
        return self.means[: self.bands].mean().clamp(min=1e-3).reshape(1)

    def _noise(self, physics: SensorPhysics, means: Tensor) -> Tensor:
        """Variance at the mean signals, ``(bands,)``."""
        return noise_variance(physics, means.reshape(1, -1, 1, 1)).mean((0, 2, 3))

    @cached_property
    def noises(self) -> tuple[Tensor, Tensor]:
        """Variances of the sharp and coarse bands' noise at their mean signals."""
        k = self.bands
        return self._noise(self.sharp, self.means[:k]), self._noise(self.coarse, self.means[k:])

    @property
    def _design(self) -> tuple[int, int]:
        """Sharp pixels of the small grid on which what is expected is found."""
        return self.ratio * _DESIGN, self.ratio * _DESIGN

    @cached_property
    def spectra(self) -> Tensor:
        """Power spectra of the errors that each contrast's posterior leaves, ``(contrasts, C, H, W // 2 + 1)`` on a small grid."""
        solver = solver_of(self, self._design)
        return torch.stack([solver.error_spectrum(c) for c in CONTRASTS])

    @cached_property
    def deviations(self) -> Tensor:
        """Standard deviation that each contrast's posterior leaves, ``(contrasts, C)``; of the mean variance in a coarse pixel."""
        return half_plane_mean(self.spectra).sqrt()

    @cached_property
    def blind_deviations(self) -> tuple[Tensor, Tensor]:
        """`deviations` where no sharp band was measured, and where no coarse one was."""
        return tuple(replace(self, **{name: _deaf(getattr(self, name))}).deviations for name in ("sharp", "coarse"))  # type: ignore[return-value]

    @cached_property
    def error_kernels(self) -> Tensor:
        """Kernels ``(contrasts, 1, C, t, t)`` of unit energy that make white noise hang together as the errors do."""
        size = self._design
        kernels = torch.fft.fftshift(torch.fft.irfft2(self.spectra.double().sqrt(), s=size), (-2, -1))
        middle, radius = size[0] // 2, _REACH * self.ratio
        kernels = kernels[..., middle - radius : middle + radius + 1, middle - radius : middle + radius + 1] * taper(radius).to(kernels)
        found: Tensor = (kernels / kernels.square().sum((-2, -1), keepdim=True).sqrt()).float()[:, None]
        return found

    def position(self, sharp: Tensor, mask: Tensor | None = None) -> Tensor:
        """Where between the `CONTRASTS` the scene around each pixel lies, 0 to their number minus 1, ``(B, 1, H, W)``.

        With a ``mask``, by valid pixels only: what fills the others is smooth.
        """
        level = self.level.to(sharp).expand(len(sharp))
        variances = self.noises[0].to(sharp).expand(len(sharp), -1)
        shift = (self.means[: self.bands].to(sharp) - self.level.to(sharp)).reshape(1, -1, 1, 1)
        found = local_contrast(sharp - shift, self.sharp.psf, variances, level, mask=mask)
        share = self.covariance.diagonal()[: self.bands].to(sharp).reshape(1, -1, 1, 1)
        contrast = found.mean(1, keepdim=True) / share.mean()
        return (contrast.clamp(CONTRASTS[0], CONTRASTS[-1]).log2() - torch.tensor(CONTRASTS[0]).log2()) / 2

    def expected(self, position: float) -> Tensor:
        """Standard deviation that the posterior leaves in a scene of a mean `position`, ``(C,)``."""
        low = min(max(int(position), 0), len(CONTRASTS) - 2)
        return torch.lerp(self.deviations[low].log(), self.deviations[low + 1].log(), position - low).exp()

    def fine_power(self, position: float) -> Tensor:
        """Variance of what the sharp bands see in a scene of a mean `position` that is too fine for the coarse ones, ``(K,)``."""
        size = self._design
        solver = solver_of(self, size)
        radius = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]).to(solver.spectrum)
        power = CONTRASTS[0] * 4.0**position * solver.spectrum * (radius > 0.25 / self.ratio)
        return half_plane_mean(solver.fine.abs().square() * power) * self.covariance.diagonal()[: self.bands].to(power)

    def each(self, sharp: Tensor, coarse: Tensor, wanted: Collection[int] = range(len(CONTRASTS))) -> Iterator[tuple[int, Tensor]]:
        """Index and posterior mean ``(B, C, H, W)`` for each contrast that is wanted."""
        r, room = self.ratio, _ROOM * self.ratio
        means = self.means.to(sharp).reshape(1, -1, 1, 1)
        rows, columns = coarse.shape[-2:]
        if (sharp.shape[-2], sharp.shape[-1]) != (r * rows, r * columns):
            raise ValueError(
                f"sharp bands of {tuple(sharp.shape[-2:])} pixels do not fit coarse ones of {rows} x {columns} at a ratio of {r}"
            )
        extra = [good_size(n + 2 * _ROOM) - n - 2 * _ROOM for n in (rows, columns)]
        fine, low = sharp - means[:, : self.bands], coarse - means[:, self.bands :]
        fine = F.pad(fine, (room, room + r * extra[1], room, room + r * extra[0]), mode="replicate")
        low = F.pad(low, (_ROOM, _ROOM + extra[1], _ROOM, _ROOM + extra[0]), mode="replicate")
        solver = solver_of(self, (fine.shape[-2], fine.shape[-1]))
        cut = (..., slice(room, room + r * rows), slice(room, room + r * columns))
        seen = torch.fft.rfft2(fine)
        for k in sorted(wanted):
            yield k, solver.mean(CONTRASTS[k], seen, low)[cut] + means

    def posterior(
        self, sharp: Tensor, coarse: Tensor, sharp_mask: Tensor | None = None, coarse_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Posterior mean and standard deviation, ``(B, C, H, W)`` each.

        Parameters
        ----------
        sharp, coarse : Tensor
            Measurements ``(B, K, H, W)`` and ``(B, M, H / r, W / r)``, image units.
        sharp_mask, coarse_mask : Tensor, optional
            One where they are valid, broadcastable to them. What is missing is filled with what the posterior expects there, a few times
            over, which converges to the posterior of what was measured; the deviation is that without the bands that are missing.
        """
        k, r = self.bands, self.ratio
        means = self.means.to(sharp).reshape(1, -1, 1, 1)
        fine, low = filled_holes(sharp, sharp_mask, means[:, :k]), filled_holes(coarse, coarse_mask, means[:, k:])
        torn = [None if m is None or bool((m > 0).all()) else (m > 0).expand_as(y) for m, y in ((sharp_mask, sharp), (coarse_mask, coarse))]
        place = self.position(fine, torn[0])
        if torn[0] is not None:  # what the coarse bands say of the holes, and by how much neighbours differ from that
            blind = _periodic(replace(self, sharp=_deaf(self.sharp))._mixed(fine, low, place)[:, :k], self.sharp)
            fine = blind + filled_holes(sharp - blind, torn[0], torch.zeros_like(means[:, :k]))
        for _ in range(_FILLINGS if any(t is not None for t in torn) else 0):
            seen = self._mixed(fine, low, place)
            if torn[0] is not None:
                fine = torch.where(torn[0], sharp, _periodic(seen[:, :k], self.sharp))
            if torn[1] is not None:
                low = torch.where(torn[1], coarse, _periodic(seen[:, k:], self.coarse)[..., ::r, ::r])
        mean, deviation = self._mixed(fine, low, place), self.at(place, self.deviations)
        for index, (valid, factor) in enumerate(zip(torn, (1, r), strict=True)):
            if valid is not None:
                missing, expected = repeated(~valid.all(1, keepdim=True), factor), self.at(place, self.blind_deviations[index])
                deviation = torch.where(missing, torch.maximum(deviation, expected), deviation)
        return mean, deviation

    def _mixed(self, sharp: Tensor, coarse: Tensor, place: Tensor) -> Tensor:
        """Mean at the contrasts of each pixel."""
        mean: Tensor = torch.zeros(())
        for k, found in self.each(sharp, coarse, present(place)):
            mean = mean + weight_at(place, k) * found
        return mean

    @staticmethod
    def at(place: Tensor, deviations: Tensor) -> Tensor:
        """Deviation ``(B, C, H, W)`` at the contrasts of each pixel, from those of each contrast, such as `deviations`."""
        logs = deviations.to(place).log()
        total: Tensor = torch.zeros(())
        for k in present(place):
            total = total + weight_at(place, k) * logs[k].reshape(1, -1, 1, 1)
        return total.exp()


def half_plane_mean(spectrum: Tensor) -> Tensor:
    """Mean over all frequencies of a real spectrum ``(..., H, W // 2 + 1)`` of an even width, as ``rfft2`` has it."""
    weight = torch.full_like(spectrum[..., :1, :], 2.0)
    weight[..., 0] = weight[..., -1] = 1
    rows, columns = spectrum.shape[-2], 2 * (spectrum.shape[-1] - 1)
    return (spectrum * weight).sum((-2, -1)) / (rows * columns)


def _deaf(physics: SensorPhysics) -> SensorPhysics:
    """A sensor whose measurements say nothing."""
    noise = SignalDependentNoise(torch.full((physics.psf.shape[1],), _DEAF), torch.zeros(physics.psf.shape[1])).to(physics.psf.device)
    return SensorPhysics(physics.psf, noise, physics.margin, physics.factor)


def _periodic(x: Tensor, physics: SensorPhysics) -> Tensor:
    """An image blurred as a sensor does, its borders replicated."""
    room = physics.radius
    padded = F.pad(x, (room, room + x.shape[-1] % 2, room, room + x.shape[-2] % 2), mode="replicate")
    size = (padded.shape[-2], padded.shape[-1])
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * physics.transfer(size), s=size)
    return blurred[..., room : room + x.shape[-2], room : room + x.shape[-1]]
