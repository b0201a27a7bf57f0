"""What the benchmarks compare with: other methods, networks trained for comparison only, a perceptual distance."""
