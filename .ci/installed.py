"""A plain install is as small as it is said to be, and has no library that only extras need."""

from importlib import metadata

import numpy

found = {d.metadata["Name"].lower() for d in metadata.distributions()} - {"pip", "imaging-restore"}
cuda = {name for name in found if name.startswith(("nvidia-", "cuda-")) or name == "triton"}  # as many as a release of torch has
print(f"{len(found)} distributions, {len(cuda)} of them of CUDA")
print(*(f"{name} {metadata.version(name)}" for name in ("numpy", "rasterio", "torch", "deepinv")), sep=", ")
assert len(found - cuda) <= 46, sorted(found - cuda)
assert not found & {"compressai", "pandas", "distributed", "onnx", "onnxruntime"}
assert int(numpy.__version__.split(".")[0]) >= 2
