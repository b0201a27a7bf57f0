"""What one training run does."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


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
        if self.crop < 32 or self.crop % 32:
            raise ValueError(f"crop is {self.crop}; it must be a multiple of 32")
        for name in ("gain", "exponent"):
            pair = getattr(self, name)
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise ValueError(f"{name} is {list(pair)}; it must be two positive numbers in ascending order")
        for name in ("haze", "shrink"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}; it must be at least 0")
        if self.minutes <= 0:
            raise ValueError(f"minutes is {self.minutes}; it must be above 0")
        if not 0 < self.narrowest <= 1:
            raise ValueError(f"narrowest is {self.narrowest}; it must be above 0 and at most 1")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> TrainingSettings:
        """Settings from a recipe's ``[training]`` table; unknown keys are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown:
            raise ValueError(f"unknown training setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        return cls(**values)
