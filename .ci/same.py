"""Two folders hold the same restored scene and standard deviations, to 1e-6 of the restored range."""

import sys
from pathlib import Path

import numpy as np
import rasterio

first, second = (Path(a) for a in sys.argv[1:])
span = None
for name in ("restored.tif", "restored_std.tif"):
    pair = []
    for folder in (first, second):
        with rasterio.open(folder / name) as source:
            pair.append(source.read().astype(np.float64))
    assert np.array_equal(*map(np.isnan, pair)), f"{name}: other pixels are valid"
    span = span or float(np.ptp(pair[0]))
    difference = float(np.nanmax(np.abs(pair[0] - pair[1])))
    print(f"{name}: differs by at most {difference / span:.2g} of the range")
    assert difference <= 1e-6 * span
