r"""How the errors of a pass hang together: noise of unit variance whose spectrum follows from the sensor, the noise and the deviation.

The error of a pixel is its deviation times a field

.. math:: n = \frac{\sum_k \sqrt{w_k}\,(a_k * \eta)}{\sqrt{\sum_{kl} \sqrt{w_k w_l}\,\langle a_k, a_l\rangle}}

of one white field :math:`\eta` for all contrasts :math:`k` of the bank of Wiener filters; :math:`|\hat a_k|^2` is the spectrum of the error
that the filter for this contrast leaves. The weights :math:`w_k` at a pixel are those of the contrast at which an error as large as the
pixel's deviation is expected. So what the sensor passes is as sure as the noise allows, however large the error is: a sample, measured
again, differs from the measurement by the noise. Nothing is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from imaging.amortised.features import CONTRASTS
from imaging.filters import box_mean, taper
from imaging.sensors.physics import good_size
from imaging.sensors.wiener import WienerBank

_RADIUS = 16
"""Taps of the fields' kernels on each side of the middle, pixels of the measurement."""
_SMOOTH = 3
"""Side of the square over which the logarithm of deviations is averaged for that, pixels."""
_BLOCKS = 2_000_000
"""Values that blocks take at a time."""


@dataclass(frozen=True)
class ErrorField:
    """The joint structure of a pass's errors.

    ``kernels``, ``(K, B, C, t, t)``, are symmetric and of unit energy each; B is 1 where items share a sensor. ``position``,
    ``(B, C, H, W)``, is the contrast as a place in the bank, see `place_of`.
    """

    kernels: Tensor
    position: Tensor

    @property
    def radius(self) -> int:
        """Taps of the kernels on each side of their middle."""
        return int(self.kernels.shape[-1]) // 2

    def weights(self) -> Iterator[tuple[int, Tensor]]:
        """Filters that have a weight anywhere, with square roots ``(B, C, H, W)`` by which the field's variance is 1 everywhere."""
        low, high = int(self.position.min()), math.ceil(float(self.position.max()))
        present = range(max(0, low), min(len(self.kernels) - 1, high) + 1)
        # Squares that sum to 1; roots of linear weights would make much of rounding where a weight is nearly 0.
        roots = {k: torch.cos(math.pi / 2 * (self.position - k).abs().clamp(max=1)) for k in present}
        variance = torch.zeros_like(self.position)
        for k in present:
            for other in (k, k + 1):  # only neighbours are mixed
                if other in roots:
                    product = (self.kernels[k] * self.kernels[other]).sum((-2, -1), keepdim=True)
                    variance = variance + (1 if other == k else 2) * roots[k] * roots[other] * product
        scale = variance.clamp(min=1e-12).rsqrt()
        for k in present:
            yield k, roots[k] * scale

    def shaped(self, white: Tensor) -> Tensor:
        """The field ``(B, C, H, W)`` of white noise ``(B, C, H + 2 radius, W + 2 radius)``."""
        size = [good_size(n) for n in white.shape[-2:]]
        transform = torch.fft.rfft2(white, s=size)
        rows, columns = (n - 2 * self.radius for n in white.shape[-2:])
        first = 2 * self.radius
        total: Tensor = torch.zeros(())
        for k, weight in self.weights():
            field = torch.fft.irfft2(transform * torch.fft.rfft2(self.kernels[k], s=size), s=size)
            total = total + weight * field[..., first : first + rows, first : first + columns]
        return total

    def variance_of_sum(self, weights: Tensor) -> Tensor:
        """Variance of sums of the field's values with weights ``(B, C, H, W)``, over all pixels of each band, ``(B, C)``.

        The energy of the filtered weights, as the white field has variance 1.
        """
        size = [good_size(n + 2 * self.radius) for n in weights.shape[-2:]]
        total: Tensor = torch.zeros(())
        for k, own in self.weights():
            total = total + torch.fft.rfft2(own * weights, s=size) * torch.fft.rfft2(self.kernels[k], s=size)
        return _energy(total, size)

    def block_deviation(self, deviation: Tensor, block: int) -> Tensor:
        """Deviation of means over blocks of ``deviation`` times the field, ``(B, C, H // block, W // block)``; a remainder is left out."""
        batch, channels, height, width = deviation.shape
        rows, columns = height // block, width // block
        size = [good_size(block + 2 * self.radius)] * 2

        def cut(x: Tensor) -> Tensor:
            blocks = x[..., : rows * block, : columns * block].reshape(batch, channels, rows, block, columns, block)
            return blocks.transpose(3, 4).reshape(batch, channels, rows * columns, block, block)

        values = [(self.kernels[k], cut(own * deviation / block**2)) for k, own in self.weights()]
        chunk, found = max(1, _BLOCKS // (size[0] * size[1])), []
        for first in range(0, rows * columns, chunk):
            total: Tensor = torch.zeros(())
            for kernel, value in values:
                total = total + torch.fft.rfft2(value[:, :, first : first + chunk], s=size) * torch.fft.rfft2(kernel, s=size)[:, :, None]
            found.append(_energy(total, size))
        return torch.cat(found, 2).reshape(batch, channels, rows, columns).sqrt()


def _energy(transform: Tensor, size: list[int]) -> Tensor:
    """Sum of squares of real images, from what `torch.fft.rfft2` makes of them."""
    weight = torch.full_like(transform.real[..., :1, :], 2.0)
    weight[..., 0] = 1
    if size[1] % 2 == 0:
        weight[..., -1] = 1
    return (transform.abs().square() * weight).sum((-2, -1)) / (size[0] * size[1])


def place_of(errors: Tensor, deviation: Tensor) -> Tensor:
    """Contrast of scenes in which errors of these deviations ``(B, C, H, W)`` are expected, as a place in a bank, 0 to K - 1.

    ``errors`` are those expected at the bank's contrasts, ascending, ``(K, B, C, 1, 1)``.
    """
    edges = errors.to(deviation).log()
    wanted = box_mean(deviation.log(), _SMOOTH)
    place = torch.zeros_like(wanted)
    for low, high in pairwise(edges):
        place = place + ((wanted - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return place


def error_field(bank: WienerBank, position: Tensor) -> ErrorField:
    """The field for a sensor, by its bank with the features' contrasts, and a scene, by its ``position`` (see `place_of`)."""
    if bank.contrasts != CONTRASTS:
        raise ValueError("the bank has other contrasts than the features")
    kernels, radius = [], _RADIUS * bank.factor
    for contrast in bank.contrasts:
        kernel = torch.fft.fftshift(torch.fft.ifft2(bank.error_spectrum(contrast).clamp(min=0).sqrt()).real, (-2, -1))
        middle = kernel.shape[-1] // 2
        kernel = kernel[..., middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
        kernel = kernel * taper(radius).to(kernel)
        kernels.append((kernel / kernel.square().sum((-2, -1), keepdim=True).sqrt()).to(position.dtype))
    return ErrorField(torch.stack(kernels).expand(-1, -1, position.shape[1], -1, -1), position)
