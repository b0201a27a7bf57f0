"""Which method fuses a bundle, loaded for its bands."""

from __future__ import annotations

import torch

from imaging.amortised import DEFAULT_ORIENTATIONS, choose_fusion, find_fusion, load_limits, load_network
from imaging.errors import InputError
from imaging.names import AMORTISED, AUTO, GAUSSIAN
from imaging.priors import DEFAULT_PRIOR, choose_prior, load_prior
from imaging.restoration.bundle import Stack
from imaging.restoration.fuse_options import FuseOptions
from imaging.restoration.fusion_methods import FusionMethod, GaussianFusion, NetworkFusion
from imaging.restoration.methods import find_prior

_STEPS = 24
"""Of a fit."""


def choose_fusion_method(options: FuseOptions, stacks: list[Stack], device: torch.device) -> tuple[FusionMethod, list[str]]:
    """The method asked for, or that of the bands; with what the user should know.

    `InputError` for a network or prior that is not there, or does not fit the bands.
    """
    names = [b.common_name for b in stacks[0].bands[1]] if len(stacks) == 1 and len(stacks[0].bands[0]) == 1 else []
    network = choose_fusion(names)
    wanted = options.method
    if wanted == AUTO:
        wanted = "vble-xz" if options.of_a_fit else AMORTISED if network is not None or options.prior != AUTO else GAUSSIAN
    if wanted == GAUSSIAN:
        if options.prior != AUTO:
            raise InputError("gaussian takes no prior; leave --prior away, or choose --method amortised or vble-xz")
        several = [] if network or not names else [f"no network was trained for the bands {', '.join(n or 'of no name' for n in names)}"]
        return GaussianFusion(), [f"{several[0]}: fused by {GAUSSIAN}"] if several and options.method == AUTO else []
    if not names:
        raise InputError(f"{wanted} fuses one panchromatic band with others; for several sharp bands there is --method {GAUSSIAN}")
    if wanted == AMORTISED:
        if network is None and options.prior == AUTO:
            raise InputError(
                f"no network was trained for the bands {', '.join(n or 'of no name' for n in names)}; choose --method {GAUSSIAN}"
            )
        info = find_fusion(str(network) if options.prior == AUTO else options.prior)
        loaded = load_network(info, device)
        if loaded.settings.channels != len(names):
            raise InputError(f"{info.name} takes {loaded.settings.channels} bands, the scene has {len(names)}; choose with --bands")
        orientations = options.iterations or DEFAULT_ORIENTATIONS
        return NetworkFusion(loaded, info.name, info.digest, orientations, load_limits(info.folder)), []
    from imaging.posterior import FitSettings
    from imaging.restoration.fusion_fit import FIT_RATIO, FitFusion

    name = choose_prior(names) if options.prior == AUTO else options.prior
    if name == DEFAULT_PRIOR:
        raise InputError(
            f"no joint prior has the bands {', '.join(n or 'of no name' for n in names)}; choose --method {GAUSSIAN} or --prior"
        )
    found = find_prior(name)
    prior = load_prior(found.name if options.prior == AUTO else name, device)
    if prior.channels != len(names):
        raise InputError(f"the prior {found.name} has {prior.channels} channels, the scene {len(names)} bands; choose with --bands")
    settings = FitSettings(
        iterations=options.iterations or _STEPS, rate_scale=options.rate_scale, weight=1.0 if options.weight is None else options.weight,
        calibrated=options.calibrated, rate_ratio=FIT_RATIO,
    )  # fmt: skip
    return FitFusion(prior, settings, found.name, found.digest), []
