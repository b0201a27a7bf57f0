"""Signal-dependent noise: the affine variance model, as a deepinv noise model, and its estimation from one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from deepinv.physics.noise import NoiseModel
from numpy.typing import NDArray
from torch import Tensor

from imaging.errors import InputError


class SignalDependentNoise(NoiseModel):  # type: ignore[misc]
    r"""Gaussian noise with variance :math:`\sigma_0^2 + K\,(Hx)`, per band.

    The high-count approximation of Poisson-Gaussian noise. deepinv's own noise models take one value per batch item, never per band.

    Parameters
    ----------
    sigma0 : Tensor
        ``(C,)``, ``(B, C)`` or a map ``(1 or B, C, H, W)``: standard deviation at zero signal, in image units.
    gain : Tensor
        Likewise: slope of the variance with the signal, in image units.
    rng : torch.Generator, optional
        Source of randomness.
    """

    sigma0: Tensor
    gain: Tensor

    def __init__(self, sigma0: Tensor, gain: Tensor, rng: torch.Generator | None = None) -> None:
        super().__init__(rng=rng)
        if bool((sigma0 < 0).any()) or bool((gain < 0).any()):
            raise ValueError("sigma0 and gain must not be negative")
        for name, value in (("sigma0", sigma0), ("gain", gain)):
            if value.ndim not in {1, 2, 4}:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected (C,), (B, C) or (B, C, H, W)")
            self.register_buffer(name, (value if value.ndim == 4 else value.reshape(-1, value.shape[-1], 1, 1)).float())

    def variance(self, signal: Tensor) -> Tensor:
        """Noise variance at a signal ``(B, C, H, W)``; negative signal counts as none."""
        return self.sigma0.to(signal) ** 2 + self.gain.to(signal) * signal.clamp(min=0)

    def forward(self, x: Tensor, seed: int | None = None, **kwargs: Any) -> Tensor:
        """Add noise to a noise-free measurement ``(B, C, H, W)``; a ``seed`` makes this draw repeatable whatever ``rng`` is."""
        if seed is None:
            noise = self.randn_like(x)
        else:
            noise = torch.randn(x.shape, generator=torch.Generator(x.device).manual_seed(seed), dtype=x.dtype, device=x.device)
        noisy: Tensor = x + self.variance(x).sqrt() * noise
        return noisy


def estimate_affine_noise(band: NDArray[Any], valid: NDArray[np.bool_] | None = None, *, bins: int = 12) -> tuple[float, float]:
    """Estimate (sigma0, gain) of white signal-dependent noise from one image, in its own units.

    In 8 x 8 blocks the residual of a separable second difference is white-noise dominated where the scene is smooth; in each brightness
    class the quietest blocks give the noise variance, and a non-negative line is fitted to variance against brightness. After Foi et al.
    (2008) and Colom et al. (2014). Coloured noise (resampled or compressed products) makes the estimate too small.

    Parameters
    ----------
    band : ndarray
        ``(H, W)``, at least 64 x 64.
    valid : ndarray of bool, optional
        Pixels to use.
    bins : int
        Brightness classes.

    Raises
    ------
    InputError
        When fewer than 50 usable blocks are found.
    """
    from scipy.ndimage import binary_erosion
    from scipy.optimize import nnls

    image = np.asarray(band, dtype=float)
    good = np.isfinite(image) if valid is None else valid & np.isfinite(image)
    if good.any():  # clipped values carry no noise
        good &= (image > image[good].min()) & (image < image[good].max())
    image = np.where(good, image, 0.0)
    # Rows of [1 -2 1] x [1 -2 1] have squared norm 36.
    residual = image[2:] - 2 * image[1:-1] + image[:-2]
    residual = (residual[:, 2:] - 2 * residual[:, 1:-1] + residual[:, :-2]) / 6
    height, width = (n // 8 * 8 for n in residual.shape)

    def blocks(a: NDArray[Any]) -> NDArray[Any]:
        return a[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 64)

    usable = blocks(binary_erosion(good, np.ones((3, 3)))[1:-1, 1:-1]).all(1)
    level, power = blocks(image[1:-1, 1:-1])[usable].mean(1), (blocks(residual)[usable] ** 2).mean(1)
    busy = power > 0
    level, power = level[busy], power[busy]
    if len(level) < 50:
        raise InputError(f"noise cannot be estimated: {len(level)} usable blocks of 8 x 8 pixels, 50 are needed; give --noise SIGMA0,GAIN")
    order = np.argsort(level)
    points = []
    for part in np.array_split(order, min(bins, len(order) // 25)):
        share = np.sort(power[part])
        # The 10 % quietest blocks; their mean underestimates by the selection, which the factor undoes (64 correlated samples).
        quiet = share[: max(3, len(share) // 10)].mean()
        points.append((level[part].mean(), quiet * _selection_factor(len(share))))
    levels, variances = np.array(points).T
    weight = 1 / variances
    design = np.stack([np.ones_like(levels), np.maximum(levels, 0)], 1)
    solution, _ = nnls(design * weight[:, None], variances * weight)
    return float(np.sqrt(solution[0])), float(solution[1])


def _selection_factor(blocks: int) -> float:
    """Ratio of the variance to the mean of the quietest tenth of block variances, for white noise.

    Simulated once per block count class from the distribution of the block statistic.
    """
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 10, 10))
    residual = noise[:, 2:] - 2 * noise[:, 1:-1] + noise[:, :-2]
    residual = (residual[..., 2:] - 2 * residual[..., 1:-1] + residual[..., :-2]) / 6
    power = np.sort((residual**2).mean((1, 2)))
    tenth = max(3, blocks // 10) / blocks
    return float(1 / power[: max(1, round(tenth * len(power)))].mean())
