"""``imaging-superres``: parse, call the package once, say what happened."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from imaging import __version__
from imaging.cli.parameters import PATH, Bands
from imaging.cli.progress import progress_bar
from imaging.cli.restore import guarded, instead


def run(source: Path, output: Path | None, **values: Any) -> None:
    """One super-resolution or those of an archive."""
    from imaging.archive.manifest import is_archive
    from imaging.cli.archive import refuse_for_one, run_archive
    from imaging.restoration import ScenePaths, SuperResolveOptions, super_resolve_scene
    from imaging.restoration.superresolution import scale_of

    names = ("model", "precision", "bands", "range", "device", "threads")
    tile = {} if values["tile"] is None else {"tile": values["tile"]}
    scale = scale_of(values["model"]) if values["scale"] is None else values["scale"]
    options = SuperResolveOptions(scale=scale, **{n: values[n] for n in names}, **tile)
    archive = is_archive(source)
    if output is None and not archive:
        output = source.absolute().with_name(f"{source.absolute().stem}_x{options.scale}.tif")
    paths = ScenePaths(input=source, output=output, uncertainty=False, overwrite=values["overwrite"], resume=values["resume"])
    if archive:
        run_archive(source, output, options, paths, values | {"sensor": "any", "std": None, "reference": None, "dry_run": False})
        return
    refuse_for_one(source, values, ("workers", "shard", "scheduler", "log"))
    with progress_bar(values["quiet"], "super-resolving", "tile") as bar:
        result = super_resolve_scene(paths, options, progress=bar)
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
    from imaging.releases import read_recipe
    from imaging.superres.zoo import find_model, list_models, manifest_of

    for name in list_models():
        manifest = manifest_of(name)
        click.echo(f"{name:16s} x{manifest.factor}, {manifest.bands} band(s)  {read_recipe(find_model(name)).get('title', '')}")


@click.command(context_settings={"max_content_width": 110})
@click.option("--input", "source", type=PATH, required=True, metavar="SCENE|PRODUCT|FOLDER|PATTERN|TABLE.csv", help="One scene or several.")
@click.option("--output", type=PATH, help="Super-resolved scene; default <stem>_x2.tif beside the input. For several a folder.")
@click.option("--model", metavar="NAME|DIR", help="See --list-models. Default: by the scale.")
@click.option("--scale", type=int, help="2 or 4.  [default: the model's, or 2]")
@click.option("--precision", default="int8", show_default=True, metavar="int8|float32", help="Of the network.")
@click.option("--bands", type=Bands(), help="Bands to super-resolve, such as 1,2; all by default.")
@click.option("--range", type=float, help="Stored value that counts as full brightness.  [default: 255 for 8 bits, else by the scene]")
@click.option("--tile", type=int, help="Side of a tile of the result.  [default: 1024]")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda|tensorrt", help="Provider of ONNX Runtime.")
@click.option("--threads", type=int, help="Of the CPU; all by default.")
@click.option("--workers", type=int, help="Processes that share several scenes.")
@click.option("--shard", metavar="i/n", help="Of several scenes: every n-th from the i-th on, for job arrays.")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask cluster instead.")
@click.option("--log", type=PATH, help="Of several scenes: a line of JSON for each.  [default: archive.jsonl in the output folder]")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--resume", is_flag=True, help="Take over finished tiles of an interrupted run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
@click.option("-v", "--verbose", is_flag=True, help="Show errors in full.")
@click.option("--list-models", is_flag=True, is_eager=True, expose_value=False, callback=instead(_models), help="Show the released models.")
@click.version_option(__version__)
def main(source: Path, output: Path | None, **values: Any) -> None:
    """Super-resolve an optical scene by a network in 8-bit integers: twice or four times as fine, georeference and data type kept.

    A fast alternative to imaging-restore --scale 2 that needs no sensor and gives no standard deviations. Exit codes as of imaging-restore.
    """
    guarded(run, source, output, **values)
