"""Released models: one folder each, of weights and of the recipe that made them."""

from __future__ import annotations

from imaging.releases.files import Measurements, check_digest, check_state, digest_of, full_precision, read_weights, ready, write_release
from imaging.releases.kinds import FUSION_ZOO, NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO, SUPERRES_ZOO
from imaging.releases.recipes import Table, read_recipe
from imaging.releases.zoo import ModelInfo, Zoo, zoo_folder

__all__ = [
    "FUSION_ZOO", "NETWORK_ZOO", "PRIOR_ZOO", "REGULARIZER_ZOO", "SUPERRES_ZOO", "Measurements", "ModelInfo", "Table", "Zoo",
    "check_digest", "check_state", "digest_of", "full_precision", "read_recipe", "read_weights", "ready", "write_release", "zoo_folder",
]  # fmt: skip
