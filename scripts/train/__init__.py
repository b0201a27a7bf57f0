"""Trainings of the released models, each from a recipe."""
