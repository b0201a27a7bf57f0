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
from imaging.cli.help import SectionedCommand, examples
from imaging.cli.parameters import PATH, Bands
from imaging.cli.progress import progress_bar
from imaging.version import __version__


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
    from imaging.superres.zoo import list_models, manifest_of

    for model in list_models():
        manifest = manifest_of(model.name)
        click.echo(f"{model.name:18s} x{manifest.factor}, {manifest.bands} band(s)  {model.title}")


@click.command(
    cls=SectionedCommand,
    hint="Names go with their options: --input SCENE --output FILE.",
    context_settings={"max_content_width": 110},
    epilog=examples(
        "imaging-superres",
        {
            "--input scene.tif": "scene_x2.tif",
            "--input scene.tif --scale 4": "scene_x4.tif",
            "--input archive/ --output fine/": "many scenes",
        },
    ),
)
@click.option(
    "--input", "source", type=PATH, required=True, metavar="SCENE",
    help="Scene to super-resolve, any raster GDAL reads, or a product as delivered; or several: a folder, a quoted pattern such as "
    "'*.tif', a table in CSV.",
)  # fmt: skip
@click.option("--output", type=PATH, help="Super-resolved scene, or a folder for several.  [default: <stem>_x2.tif beside the input]")
@click.option("--model", metavar="NAME|DIR", shell_complete=completion.models, help="Network; see --list-models.  [default: by the scale]")
@click.option(
    "--scale", type=int, metavar="2|4", shell_complete=completion.one_of("24"), help="How many times as fine.  [default: the model's, or 2]"
)
@click.option(
    "--precision", default="int8", show_default=True, metavar="int8|float32", shell_complete=completion.one_of(names.PRECISIONS),
    help="Of the network's numbers.",
)  # fmt: skip
@click.option("--bands", type=Bands(), help="Bands to super-resolve, such as 1,2.  [default: all]")
@click.option(
    "--range", type=float, metavar="VALUE",
    help="Stored value that counts as full brightness.  [default: 255 for 8 bits, else by the scene]",
)  # fmt: skip
@click.option("--tile", type=int, metavar="PIXELS", help="Side of a tile of the result.  [default: 1024]")
@click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|tensorrt", shell_complete=completion.one_of(names.PROVIDERS),
    help="Provider of ONNX Runtime.",
)  # fmt: skip
@click.option("--threads", type=int, metavar="N", help="Of the CPU.  [default: all]")
@click.option("--workers", type=int, metavar="N", help="Processes that share several scenes.  [default: one for each GPU, else 1]")
@click.option("--shard", metavar="i/n", help="Of several scenes: every n-th from the i-th on, for job arrays.")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask cluster instead.")
@click.option("--log", type=PATH, help="Of several scenes: a line of JSON for each.  [default: archive.jsonl in the output folder]")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--resume", is_flag=True, help="Take over finished tiles of an interrupted run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
@click.option("-v", "--verbose", is_flag=True, help="Show errors in full.")
@click.option("--list-models", is_flag=True, is_eager=True, expose_value=False, callback=instead(_models), help="Show the released models.")
@completion.show_completion("imaging-superres")
@click.version_option(__version__)
def main(source: Path, output: Path | None, **values: Any) -> None:
    """Super-resolve an optical scene by a network in 8-bit integers: twice or four times as fine, georeference and data type kept.

    A fast alternative to imaging-restore --scale 2 that needs no sensor and gives no standard deviations. Exit codes as of imaging-restore.
    """
    guarded(run, source, output, **values)
