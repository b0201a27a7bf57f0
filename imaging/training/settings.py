"""What one training run does."""

from __future__ import annotations

import math
from dataclasses import dataclass


def check_within(settings: object, **limits: tuple[float, float]) -> None:
    """Refuse values of settings outside of their limits, and ranges that do not ascend."""
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        parts = list(value) if isinstance(value, tuple) else [value]
        if parts != sorted(parts) or not all(least <= v <= most for v in parts):
            words = "" if parts == [value] else "numbers in ascending order "
            raise ValueError(f"{name} is {parts if words else value}; it must be {words}from {least:g} to {most:g}")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What one training run does.

    Attributes
    ----------
    minutes : float
        Wall-clock training time, interruptions not counted; the learning-rate schedule follows it. Unused where ``steps`` is given.
    steps : int
        Number of steps; the schedule then follows them, and a resumed run ends in the same weights as an uninterrupted one.
    batch, crop : int
        Images per step and their side in pixels, a multiple of 32.
    learning_rate : float
        Peak rate of Adam; the block transform itself gets a tenth of it.
    warmup : int
        Steps of linear warm-up.
    average : float
        Decay of the exponential moving average of the weights that is released.
    gain : tuple of float
        Range of the random radiometric gain, drawn log-uniformly.
    exponent : tuple of float
        Range of the exponent of a random tone curve ``x ** e``, drawn log-uniformly for half of the crops: tone-stretched images stand in
        for others, such as linear light. (1, 1) leaves tones alone.
    haze : float
        Share of crops whose darkest value is taken off, wholly or partly, half of them then stretched: linear light has far more contrast
        than stretched images.
    shrink : float
        Share of crops that are averaged over 2 x 2 pixels of a crop of twice the side: other ground sample distances, and sharper images.
    narrowest : float
        Smallest width of the latents' densities in training. Quantisation has width 1; the posterior of a measured scene is narrower, the
        more so the better the measurement, and prior and decoder should know such latents.
    std_share : float
        Share of the time given to the decoder of standard deviations, at the end.
    seed : int
        Of crops, augmentation and noise.
    """

    minutes: float = 60.0
    steps: int = 0
    batch: int = 8
    crop: int = 128
    learning_rate: float = 4e-4
    warmup: int = 200
    average: float = 0.999
    gain: tuple[float, float] = (0.25, 1.2)
    exponent: tuple[float, float] = (1.0, 1.0)
    haze: float = 0.0
    shrink: float = 0.0
    narrowest: float = 1.0
    std_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_within(
            self, minutes=(1e-9, math.inf), steps=(0, math.inf), batch=(1, 10**5), crop=(32, 2**15), learning_rate=(0, 1),
            warmup=(1, math.inf), average=(0, 1), gain=(1e-6, 1e6), exponent=(1e-3, 1e3), haze=(0, 1), shrink=(0, 1),
            narrowest=(1e-6, 1), std_share=(0, 1),
        )  # fmt: skip
        if self.crop % 32:
            raise ValueError(f"crop is {self.crop}; it must be a multiple of 32")
