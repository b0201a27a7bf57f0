"""Options of bundles, panchromatic and multispectral bands that are fused, and what is said of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging import names
from imaging.cli import completion
from imaging.cli.parameters import PATH, Shift, Weights
from imaging.errors import InputError

if TYPE_CHECKING:
    from imaging.restoration import FusedResult, FuseOptions

BUNDLES = [
    click.option(
        "--pan", type=PATH, metavar="PAN",
        help="Panchromatic scene of the input's place and moment, 2 to 6 times as fine: both are fused on its grid.",
    ),
    click.option("--pansharpen", is_flag=True, help="Fuse the scenes of a product as delivered that holds sharp and coarse bands."),
    click.option(
        "--pan-weights", type=Weights(), metavar="auto|W1,W2,...", shell_complete=completion.one_of((names.AUTO,)),
        help="How much each multispectral band contributes to the panchromatic one.  [default: auto, by regression]",
    ),
    click.option(
        "--pan-shift", type=Shift(), metavar="auto|none|DX,DY", shell_complete=completion.one_of((names.AUTO, names.NONE)),
        help="Shift of the multispectral grid, panchromatic pixels to the right and down.  [default: auto, found from the scene]",
    ),
]  # fmt: skip
"""What only bundles have."""


def is_bundle(source: Path, values: dict[str, Any]) -> bool:
    """Whether scenes are to be fused, as options or a column of a table say; `InputError` where some of the options contradict it."""
    from imaging.archive.manifest import names_pans

    if values["pan"] is not None or values["pansharpen"] or names_pans(source):
        return True
    what = "add --pan PAN.tif or --pansharpen"
    for name in ("pan_weights", "pan_shift"):
        if values[name] is not None:
            raise InputError(f"--{name.replace('_', '-')} is for bundles; {what}")
    if values["method"] == names.GAUSSIAN:
        raise InputError(f"{names.GAUSSIAN} fuses bundles; {what}")
    return False


def fuse_options(values: dict[str, Any]) -> FuseOptions:
    """The settings of a fusion; `InputError` for an option that it has not."""
    from imaging.restoration import FuseOptions

    foreign = {
        f"--scale {values['scale']}": values["scale"] != 1, "--mtf-nyquist": values["mtf_nyquist"] is not None,
        "--noise SIGMA0,GAIN": not isinstance(values["noise"], str), "--no-fallback": values["no_fallback"],
        "--download": values["download"],
    }  # fmt: skip
    for name in (n for n, given in foreign.items() if given):
        raise InputError(f"{name} does not apply to bundles, whose two sensors the profile describes; leave it away")
    kept = ("method", "bands", "samples", "iterations", "rate_scale", "weight", "seed", "tile", "halo", "batch", "device", "noise")
    chosen = {n: values[n] for n in kept} | {n: values[n] for n in ("prior", "pan_shift") if values[n] is not None}
    weights = None if values["pan_weights"] == names.AUTO else values["pan_weights"]
    return FuseOptions(calibrated=not values["uncalibrated"], pan_weights=weights, **chosen)


def bundle_lines(result: FusedResult) -> list[str]:
    """What is said of a fusion beside what is said of any scene."""
    weights = " ".join(f"{w:.3f}" for w in result.pan_weights) or "none: several bands are sharp"
    right, down = result.pan_shift
    return [f"pan       {result.pan}", f"weights   {weights}", f"shift     {right:+.3f} right, {down:+.3f} down, panchromatic pixels"]
