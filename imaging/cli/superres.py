"""``imaging-superres``: parse, call the package once, say what happened."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from imaging import names
from imaging.cli import completion
from imaging.cli.guard import guarded, instead
from imaging.cli.help import examples
from imaging.cli.parameters import PATH
from imaging.cli.progress import progress_bar
from imaging.cli.shared import HINT, LOOK, RUNNING, SEVERAL, bands_option, choice, number, source_option, with_options
from imaging.version import __version__


def run(source: Path, output: Path | None, **values: Any) -> None:
    """One super-resolution or those of an archive."""
    from imaging.archive.manifest import is_archive
    from imaging.cli.archive import refuse_for_one, run_archive
    from imaging.restoration import ScenePaths, SuperResolveOptions, check_name, check_names, check_request

    names = ("model", "scale", "precision", "bands", "range", "device", "threads", "tile")
    options = SuperResolveOptions(**{n: values[n] for n in names if values[n] is not None})
    run_as = {"overwrite": values["overwrite"], "resume": values["resume"]}
    if values["verbose"]:
        click.echo(str(options), err=True)
    check_names(None, options)
    check_name(source)
    if is_archive(source):
        run_archive(source, output, options, ScenePaths(input=source, uncertainty=False, **run_as), values)
        return
    refuse_for_one(source, values, ("workers", "shard", "scheduler", "log"))
    scale = options.scale or (2 if options.model is None else None)
    if output is not None or scale is not None:  # otherwise the model, which takes longer to load, names the output
        target = output or source.absolute().with_name(f"{source.absolute().stem}_x{scale}.tif")
        check_request(ScenePaths(input=source, output=target, uncertainty=False, **run_as), None, options)
    from imaging.restoration import super_resolve_scene

    with progress_bar(values["quiet"], "super-resolving", "tile") as bar:
        result = super_resolve_scene(source, output=output, options=options, progress=bar, **run_as)
    if values["as_json"]:
        click.echo(json.dumps(asdict(result)))
    elif not values["quiet"]:
        click.echo(
            f"super-resolved  {result.restored}\n{result.width} x {result.height} pixels, band {','.join(map(str, result.bands))}, model "
            f"{result.prior}, {values['precision']}, {result.seconds:.1f} s, {result.peak_memory_mb:.0f} MB"
        )
        for note in result.notes:
            click.echo(f"note: {note}")


def _models() -> None:
    from imaging.superres.zoo import list_models, manifest_of

    for model in list_models():
        manifest = manifest_of(model.name)
        click.echo(f"{model.name:18s} x{manifest.factor}, {manifest.bands} band(s)  {model.title}")


@click.command(
    **LOOK,
    hint=HINT,
    epilog=examples(
        "imaging-superres",
        {
            "--input scene.tif": "scene_x2.tif",
            "--input scene.tif --scale 4": "scene_x4.tif",
            "--input archive/ --output fine/": "many scenes",
        },
    ),
)
@source_option("super-resolve", required=True)
@click.option("--output", type=PATH, help="Super-resolved scene, or a folder for several.  [default: <stem>_x2.tif beside the input]")
@click.option("--model", metavar="NAME|DIR", shell_complete=completion.models, help="Network; see --list-models.  [default: by the scale]")
@choice("--scale", names.FINER, "How many times as fine.  [default: the model's, or 2]")
@choice("--precision", names.PRECISIONS, "Of the network's numbers.", default="int8")
@bands_option("super-resolve")
@number("--range", "VALUE", "Stored value that counts as full brightness.  [default: 255 for 8 bits, else by the scene]")
@number("--tile", "PIXELS", "Side of a tile of the result.  [default: 1024]", int)
@choice("--device", names.PROVIDERS, "Provider of ONNX Runtime.", default="cpu")
@number("--threads", "N", "Of the CPU.  [default: all]", int)
@with_options(RUNNING, SEVERAL)
@click.option("--list-models", is_flag=True, is_eager=True, expose_value=False, callback=instead(_models), help="Show the released models.")
@completion.show_completion("imaging-superres")
@click.version_option(__version__)
def main(source: Path, output: Path | None, **values: Any) -> None:
    """Super-resolve an optical scene by a network in 8-bit integers: twice or four times as fine, georeference and data type kept.

    A fast alternative to imaging-restore --scale 2 that needs no sensor and gives no standard deviations. Exit codes as of imaging-restore.
    """
    guarded(run, source, output, **values)
