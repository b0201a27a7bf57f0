"""Benchmarks: ``python -m scripts.bench`` lists them."""
