"""Programs around the package, run from a checkout as modules: ``python -m scripts.bench``, ``python -m scripts.train.prior``."""
