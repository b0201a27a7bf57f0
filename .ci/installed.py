"""A plain install is as small as it is said to be, and has no library that only extras need."""

from importlib import metadata

import numpy

found = {d.metadata["Name"].lower() for d in metadata.distributions()} - {"pip", "imaging-restore"}
print(f"{len(found)} distributions, numpy {numpy.__version__}, rasterio {metadata.version('rasterio')}, torch {metadata.version('torch')}")
assert len(found) <= 63, sorted(found)
assert not found & {"compressai", "pandas", "distributed", "onnx", "onnxruntime"}
assert int(numpy.__version__.split(".")[0]) >= 2
