"""Words that users type, each in this one place, which imports nothing: the command line reads them without loading what takes seconds."""

from __future__ import annotations

AUTO = "auto"
"""What is left to the program."""
AMORTISED = "amortised"
"""The posterior in one pass of a network."""
POSTERIORS = ("vble-xz", "vble", "map")
"""Posteriors that are fitted."""
REGULARIZERS = ("tv", "foe", "crr", "wcrr")
"""Minimisers with a learned regulariser."""
POINTS = REGULARIZERS
"""Methods without standard deviations."""
METHODS = (AMORTISED, *POSTERIORS, *POINTS)
GAUSSIAN = "gaussian"
"""The Gaussian posterior of a bundle, in closed form."""
FUSIONS = (AMORTISED, GAUSSIAN, POSTERIORS[0])
"""Methods of bundles: one pass of a network, the Gaussian posterior, a fit."""
DEFAULT_METHOD = AMORTISED
"""What `AUTO` means where nothing else is asked for: what has the higher PSNR on validation scenes, see docs/benchmark.md."""
FALLBACK = "vble-xz"
"""The method of scenes that the network of a pass does not know, and of settings that only a fit has."""
STARTS = ("pass", "wiener")
SCALES = (1, 2)
"""Of a restoration: pixels of the result to one measured pixel along each side."""
FINER = (2, 4)
"""Of super-resolution."""
ORIENTATIONS = (1, 2, 4)
"""Over how many orientations of a scene the results of a pass may be averaged."""
DEVICES = (AUTO, "cpu", "cuda")
PROVIDERS = ("cpu", "cuda", "tensorrt")
"""Devices of networks in integers."""
PRECISIONS = ("int8", "float32")
"""Of networks in integers and their originals."""
ESTIMATE = "estimate"
"""In place of a sensor or its noise: from the scene."""
NOISES = ("profile", ESTIMATE)
NONE = "none"
"""No shift between the grids of a bundle but what the files say."""
COMPRESSAI = "compressai:"
"""How names of compressai's zoo begin."""
PRIOR_FAMILIES = ("lapped", "mean-scale", "mbt", "cheng", "factorized", "vae")
FUSION_FAMILY = "fusion"
REGULARIZER_FAMILIES = ("tv", "foe", "ridge")
SUPERRES_FAMILY = "superres"
SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".ntf")
"""Ends of the names of scenes in folders."""
