"""Small inference networks and sensors for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from imaging.amortised import InferenceNetwork, NetworkSettings
from imaging.sensors import SensorPhysics, SignalDependentNoise
from imaging.sensors.mtf import separable_psf
from tests.scenes import smooth


def tiny(channels: int = 1, seed: int = 0) -> InferenceNetwork:
    """A network of a few thousand weights, alive everywhere."""
    torch.manual_seed(seed)
    network = InferenceNetwork(NetworkSettings(channels=channels, widths=(8, 8, 8), blocks=(1, 1, 1)))
    torch.nn.init.normal_(network.change.weight, std=0.02)
    return network.eval().requires_grad_(False)


def physics(nyquist: float = 0.15, snr: float = 90.0, *, factor: int = 1, margin: int | None = None, power: float = 1.0) -> SensorPhysics:
    """A Gaussian sensor with 70 % of shot noise at half signal; ``power`` multiplies signals and their noise."""
    variance = (0.5 / snr) ** 2
    psf = torch.from_numpy(separable_psf("gaussian", (nyquist, nyquist), factor)).float()[None, None]
    noise = SignalDependentNoise(torch.tensor([power * (0.3 * variance) ** 0.5]), torch.tensor([power * 0.7 * variance / 0.5]))
    return SensorPhysics(psf, noise, margin, factor)


def measurement(height: int = 96, width: int = 96, seed: int = 0) -> Tensor:
    """A noisy scene around 0.3, ``(1, 1, height, width)``."""
    return torch.from_numpy(smooth(1, height, width, seed)[None] / 4095).float()
