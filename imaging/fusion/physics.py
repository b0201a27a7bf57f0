"""Bundles as deepinv physics: sharp bands that mix those of the scene, and coarse ones that sample it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from deepinv.physics import LinearPhysics, StackedLinearPhysics
from torch import Tensor

from imaging.sensors.mtf import mtf_curve
from imaging.sensors.physics import SensorPhysics, sensor_physics
from imaging.sensors.profile import Band, Mtf

Shift = tuple[float, float]


class SpectralPhysics(LinearPhysics):  # type: ignore[misc]
    r"""A sensor whose bands are weighted sums of the scene's: :math:`y_k = H_k \sum_c w_{kc} x_c + n_k`.

    Parameters
    ----------
    instrument : SensorPhysics
        Of the K measured bands: kernels, margin and noise.
    weights : Tensor
        ``(K, C)`` spectral weights, for each measured band those of the scene's C bands.

    Notes
    -----
    ``A`` maps ``(B, C, H + 2 margin, W + 2 margin)`` to ``(B, K, H, W)``.
    """

    weights: Tensor

    def __init__(self, instrument: SensorPhysics, weights: Tensor) -> None:
        super().__init__(noise_model=instrument.noise_model)
        if weights.ndim != 2 or instrument.psf.shape[1] not in {1, len(weights)}:
            raise ValueError(f"weights have shape {tuple(weights.shape)}; expected ({instrument.psf.shape[1]}, C)")
        self.instrument = instrument
        self.register_buffer("weights", weights.float())

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802
        """Noise-free measurement ``(B, K, H, W)`` of a scene with margins."""
        if x.ndim != 4 or x.shape[1] != self.weights.shape[1]:
            raise ValueError(f"an image of shape {tuple(x.shape)} does not fit: expected (B, {self.weights.shape[1]}, H, W)")
        return self.instrument.A(torch.einsum("kc,bchw->bkhw", self.weights.to(x), x))

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802
        """Adjoint of `A`: ``(B, C, H + 2 margin, W + 2 margin)``."""
        found: Tensor = torch.einsum("kc,bkhw->bchw", self.weights.to(y), self.instrument.A_adjoint(y))
        return found


def matched(mtf: Mtf, sharp: Mtf, ratio: int) -> Mtf:
    """The MTF of a coarse band whose restored scene is to have the target of a sharp one, ``ratio`` times as fine.

    The quotient of both curves; exact at zero and at the coarse band's Nyquist frequency, and everywhere for curves of one shape.
    """
    if sharp.target is None:
        return replace(mtf, target=None)
    return replace(mtf, target=float(mtf_curve(sharp.shape, sharp.target, torch.tensor(0.5 / ratio).numpy())))


def bundle_margin(bands: tuple[Band, ...], ratio: int, shift: Shift = (0.0, 0.0)) -> int:
    """Unknown pixels around what is measured of a bundle: the reach of its coarse kernels, whole coarse pixels."""
    return -(-max(b.mtf.psf(ratio, shift).shape[0] // 2 for b in bands) // ratio) * ratio


def bundle_physics(
    sharp: tuple[Band, ...], coarse: tuple[Band, ...], weights: Tensor, full_scale: float, ratio: int, *, shift: Shift = (0.0, 0.0),
    margin: int | None = None,
) -> StackedLinearPhysics:  # fmt: skip
    """Physics of a bundle, in image units: scenes on the grid of the sharp bands to a list of two measurements.

    Parameters
    ----------
    sharp, coarse : tuple of Band
        Each with a noise model: K sharp ones, such as one panchromatic, and M coarse ones, which the scene's last M bands are.
    weights : Tensor
        ``(K, C)`` of the sharp bands, see `SpectralPhysics`; C at least M.
    full_scale : float
        DN of 1.
    ratio : int
        Sharp pixels to a coarse one along each side.
    shift : (float, float)
        Of the coarse grid's first corner against that of the sharp one, to the right and down, sharp pixels.
    margin : int, optional
        Unknown pixels around what is measured, a multiple of the ratio; `bundle_margin` by default.

    Returns
    -------
    StackedLinearPhysics
        From ``(B, C, r H + 2 margin, r W + 2 margin)`` to ``(B, K, r H, r W)`` and ``(B, M, H, W)``.
    """
    room = bundle_margin(coarse, ratio, shift) if margin is None else margin
    fine = SpectralPhysics(sensor_physics(sharp, full_scale, room), weights)
    sampled = sensor_physics(coarse, full_scale, room, ratio, shift)
    last = torch.eye(weights.shape[1])[weights.shape[1] - len(coarse) :]
    return StackedLinearPhysics([fine, sampled if len(last) == weights.shape[1] else SpectralPhysics(sampled, last)])
