"""Lists that are shown instead of a restoration."""

from __future__ import annotations

import click


def sensors() -> None:
    """The sensor profiles."""
    from imaging.sensors import builtin_sensors, load_profile

    for name in builtin_sensors():
        profile = load_profile(name)
        click.echo(f"{name:14s} {profile.title} [{', '.join(b.name for b in profile.bands)}]")


def priors() -> None:
    """The released priors and regularisers."""
    from imaging.releases import FUSION_ZOO, NETWORK_ZOO, PRIOR_ZOO, REGULARIZER_ZOO
    from imaging.restoration import regularizer_method

    for network in NETWORK_ZOO.models():
        click.echo(f"{network.name:14s} --method amortised  {network.title}")
    for bundles in FUSION_ZOO.models():
        click.echo(f"{bundles.name:14s} --method amortised --pan  {bundles.title}")
    for prior in PRIOR_ZOO.models():
        click.echo(f"{prior.name:14s} {prior.channels} channel(s)  {prior.title}")
    for learned in REGULARIZER_ZOO.models():
        click.echo(f"{learned.name:14s} --method {regularizer_method(learned)}  {learned.title}")


def describe(name: str) -> None:
    """One profile with the sources of its numbers."""
    from imaging.sensors import load_profile

    profile = load_profile(name)
    click.echo(f"{profile.name}: {profile.title}\nstate {profile.state}, {profile.bits} bits ({profile.source})")
    for band in profile.bands:
        m, n = band.mtf, band.noise
        target = f", restored to {m.target:g}" if m.target else ""
        click.echo(f"\nband {band.name}: {band.gsd:g} m ({band.source})")
        click.echo(f"  MTF at Nyquist {m.nyquist[0]:.3g} across, {m.nyquist[1]:.3g} along track, {m.shape}{target} ({m.source})")
        text = "estimated from the scene" if n is None else f"sigma0 {n.sigma0:g} DN, gain {n.gain:g}, offset {n.offset:g} DN ({n.source})"
        click.echo(f"  noise {text}")
