"""What can be refused of a request for many scenes before the first of them is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imaging.archive.manifest import Entry, find_entries
from imaging.errors import InputError
from imaging.names import ESTIMATE
from imaging.restoration import FuseOptions, Options, Sensor, SuperResolveOptions, check_choice, check_no_estimate, find_resolver, scale_of
from imaging.sensors import is_product, load_profile


def entries_of(source: str | Path | Sequence[Entry], output: Path | None, options: Options) -> list[Entry]:
    """The scenes of an archive; `InputError` when there are none, or no folder for their outputs."""
    if not isinstance(source, (str, Path)):
        return list(source)
    what = f"x{scale_of(options)}" if isinstance(options, SuperResolveOptions) else "restored"
    entries = find_entries(source, output or source, what, whole=isinstance(options, FuseOptions))
    if output is None:
        raise InputError(f"{source} names several scenes; give the folder of their restored scenes with --output")
    if output.exists() and not output.is_dir():
        raise InputError(f"the output {output} is a file; for several scenes give a folder")
    return entries


def check_archive(entries: list[Entry], sensor: Sensor, options: Options) -> None:
    """Refuse, before the first scene, what none or some of them could be restored with.

    `InputError` without a sensor that a scene needs, or for a sensor, prior, model or device that is not there.
    """
    for entry in entries:
        _check_kind(entry, options)
    if isinstance(options, SuperResolveOptions):
        find_resolver(options)
        return
    if sensor is None and any(e.sensor is None and not e.is_product for e in entries):
        raise InputError("a sensor is needed: --sensor NAME or --sensor FILE.toml, or a column sensor in the table")
    check_choice(options)
    for name in dict.fromkeys(e.sensor or sensor for e in entries):
        if isinstance(options, FuseOptions):
            check_no_estimate(name)
        if isinstance(name, str) and name != ESTIMATE:
            load_profile(name)


def _check_kind(entry: Entry, options: Options) -> None:
    """Refuse bundles that are not to be fused, and single scenes that are."""
    if not isinstance(options, FuseOptions):
        if entry.pan is not None:
            raise InputError(f"{entry.input} comes with the panchromatic scene {entry.pan}, with which only a fusion has to do")
    elif entry.pan is None and not is_product(entry.input):
        raise InputError(
            f"{entry.input} is no product as delivered and has no panchromatic scene; name one for it in the column pan of a table"
        )
