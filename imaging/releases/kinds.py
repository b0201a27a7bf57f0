"""The kinds of released models, told apart by their families."""

from __future__ import annotations

from imaging.names import AMORTISED, FUSION_FAMILY, PRIOR_FAMILIES, REGULARIZER_FAMILIES, SUPERRES_FAMILY
from imaging.releases.zoo import Zoo

NETWORK_ZOO = Zoo("inference network", (AMORTISED,))
FUSION_ZOO = Zoo("inference network of bundles", (FUSION_FAMILY,))
PRIOR_ZOO = Zoo("prior", PRIOR_FAMILIES, ", or compressai:NAME-QUALITY")
REGULARIZER_ZOO = Zoo("regulariser", REGULARIZER_FAMILIES)
SUPERRES_ZOO = Zoo("super-resolution model", (SUPERRES_FAMILY,))
