"""Trainings: images and crops of them, settings, and a loop that can be interrupted."""
