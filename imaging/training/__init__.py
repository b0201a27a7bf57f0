"""Trainings: images and crops of them, settings, and a loop that can be interrupted."""

from __future__ import annotations

from imaging.training.crops import CropSampler, statistics_batch
from imaging.training.images import find_images, full_scale, read_image, validation_images, write_pack
from imaging.training.loop import InterruptibleTraining
from imaging.training.settings import TrainingSettings, check_within

__all__ = [
    "CropSampler", "InterruptibleTraining", "TrainingSettings", "check_within", "find_images", "full_scale", "read_image",
    "statistics_batch", "validation_images", "write_pack",
]  # fmt: skip
