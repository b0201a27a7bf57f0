"""Posteriors in files: safetensors with everything but the prior."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from imaging.errors import InputError
from imaging.posterior.families import Dirac, Family, Gaussian, Uniform
from imaging.posterior.fitted import Frame, LatentPosterior
from imaging.posterior.mixture import PosteriorMixture
from imaging.priors.base import LatentPrior

_FORMAT, _FORMER = "imaging posterior 2", "imaging posterior 1"
_FAMILIES: dict[str, type[Family]] = {"uniform": Uniform, "gaussian": Gaussian, "dirac": Dirac}


def fingerprint(prior: LatentPrior) -> str:
    """SHA-256 of a prior's weights, which a posterior is worth nothing without."""
    digest = hashlib.sha256()
    for name, value in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_posterior(posterior: LatentPosterior | PosteriorMixture, path: Path | str) -> None:
    """Write a posterior to a safetensors file; the prior is named by the digest of its weights and not written.

    Parameters
    ----------
    posterior : LatentPosterior or PosteriorMixture
        What was fitted.
    path : Path
        File to write.
    """
    parts = posterior.parts if isinstance(posterior, PosteriorMixture) else (posterior,)
    tensors: dict[str, Tensor] = {}
    described = []
    for k, part in enumerate(parts):
        family = next(n for n, kind in _FAMILIES.items() if isinstance(part.family, kind))
        own = {"centre": part.family.centre, "rate_scale": part.rate_scale, "objective": part.objective}
        if not isinstance(part.family, Dirac):
            own["log_width"] = part.family.log_width if isinstance(part.family, Uniform) else part.family.log_std
        if part.information is not None:
            own["information"] = part.information
        tensors |= {f"{k}.{n}": v.detach().cpu().contiguous().clone() for n, v in own.items()}
        described.append(
            {"family": family, "weight": part.weight, "frame": list(part.frame), "origins": [list(o) for o in part.origins],
             "seed": part.seed, "precision": part.precision}
        )  # fmt: skip
    facts = {
        "format": _FORMAT,
        "prior": fingerprint(parts[0].prior),
        "mixture": isinstance(posterior, PosteriorMixture),
        "parts": described,
    }
    save_file(tensors, path, {"imaging": json.dumps(facts)})


def load_posterior(path: Path | str, prior: LatentPrior) -> LatentPosterior | PosteriorMixture:
    """Read a posterior that `save_posterior` wrote, onto the prior's device; its moments and samples are those of the saved one.

    Parameters
    ----------
    path : Path
        The file.
    prior : LatentPrior
        With the weights that the posterior was fitted with.

    Raises
    ------
    InputError
        When the file holds no posterior, or one of another prior.
    """
    try:
        with safe_open(path, "pt", device=str(next(prior.parameters()).device)) as file:
            facts = json.loads((file.metadata() or {}).get("imaging", "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a safetensors file") from error
    if facts.get("format") == _FORMER:
        raise InputError(f"{path} holds a posterior of an earlier version, with factors that are no longer applied; fit it again")
    if facts.get("format") != _FORMAT:
        raise InputError(f"{path} holds no posterior; only files that save_posterior wrote can be loaded")
    if facts["prior"] != fingerprint(prior):
        raise InputError(f"{path} holds a posterior of a prior with other weights, whose digest starts with {facts['prior'][:12]}")
    parts = tuple(_part(prior, described, {k[2:]: v for k, v in tensors.items() if k.startswith(f"{i}.")})
                  for i, described in enumerate(facts["parts"]))  # fmt: skip
    return PosteriorMixture(parts) if facts["mixture"] else parts[0]


def _part(prior: LatentPrior, facts: dict[str, Any], own: dict[str, Tensor]) -> LatentPosterior:
    arguments = [own["centre"]] + ([own["log_width"]] if "log_width" in own else [])
    return LatentPosterior(
        prior, _FAMILIES[facts["family"]](*arguments), own["rate_scale"], own.get("information"), facts["weight"], Frame(*facts["frame"]),
        [(r, c) for r, c in facts["origins"]], facts["seed"], own["objective"], facts["precision"],
    )  # fmt: skip
