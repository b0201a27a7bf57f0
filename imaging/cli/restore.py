"""``imaging-restore`` and ``rio restore``: parse, call the package once, say what happened."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging import __version__
from imaging.cli.parameters import PATH, Bands, Batch, Noise
from imaging.cli.progress import progress_bar
from imaging.errors import ImagingError, InputError, one_line

if TYPE_CHECKING:
    from imaging.restoration import RestoreOptions, ScenePaths, SceneResult

_EAGER: dict[str, Any] = {"is_eager": True, "expose_value": False}


_OPTIONS = [
    click.option("--sensor", metavar="NAME|FILE.toml|estimate", help="Sensor profile; see --list-sensors. Products name it themselves."),
    click.option("--std", type=PATH, help="Standard deviations; default <stem>_std.tif beside the restored scene."),
    click.option("--no-uncertainty", is_flag=True, help="Write no standard deviations."),
    click.option(
        "--method", default="vble-xz", show_default=True, metavar="vble-xz|vble|map|tv|foe|crr|wcrr", help="Posterior or point estimate."
    ),
    click.option("--prior", metavar="NAME|DIR", help="What scenes look like; see --list-priors. Default: by the bands."),
    click.option("--download", is_flag=True, help="Allow to fetch a prior of compressai's zoo, compressai:NAME-QUALITY."),
    click.option("--scale", type=int, default=1, show_default=True, help="2: also halve the ground sample distance."),
    click.option("--bands", type=Bands(), help="Bands to restore, such as 1,2; all by default."),
    click.option("--samples", type=int, default=0, help="Posterior samples to save; needs --save-samples."),
    click.option("--save-samples", type=PATH, metavar="DIR", help="Existing folder for the samples."),
    click.option("--iterations", type=int, help="Steps of the fit; fewer are faster and less sharp."),
    click.option("--rate-scale", type=float, metavar="S", help="Scale of the prior's bit rate; smaller regularises more."),
    click.option("--weight", type=float, help="Of the prior against the measurement; 1 is Bayes' rule.  [default: 1, at scale 2 1.5]"),
    click.option("--uncalibrated", is_flag=True, help="Standard deviations of the fit itself, without the prior's calibration."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the random draws."),
    click.option("--tile", type=int, default=512, show_default=True, help="Side of a tile, a multiple of 32 from 64."),
    click.option("--halo", type=int, help="Pixels around a tile that take part in its fit.  [default: by the prior and the PSF]"),
    click.option("--batch", type=Batch(), default="auto", help="Tiles fitted together.  [default: auto]"),
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to compute."),
    click.option("--mtf-nyquist", type=float, help="Replaces the profile's MTF at Nyquist."),
    click.option("--noise", type=Noise(), default="profile", show_default=True, help="Where the noise model comes from; numbers in DN."),
    click.option("--reference", type=PATH, metavar="TRUTH.tif", help="Compare with this truth: PSNR and interval coverage."),
    click.option("--overwrite", is_flag=True, help="Replace existing outputs."),
    click.option("--resume", is_flag=True, help="Take over finished tiles of an interrupted run."),
    click.option("--dry-run", is_flag=True, help="Print the plan, write nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, no summary."),
    click.option("-v", "--verbose", is_flag=True, help="Also print the settings in force."),
]


def _with_options(function: Any) -> Any:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _options(values: dict[str, Any]) -> RestoreOptions:
    from imaging.restoration import RestoreOptions

    names = (
        "method", "download", "scale", "bands", "samples", "rate_scale", "weight", "seed", "tile", "halo", "batch", "device", "mtf_nyquist",
        "noise",
    )  # fmt: skip
    given = {n: values[n] for n in names} | {n: values[n] for n in ("prior", "iterations") if values[n] is not None}
    return RestoreOptions(calibrated=not values["uncalibrated"], **given)


def _paths(source: Path, output: Path | None, values: dict[str, Any]) -> ScenePaths:
    from imaging.restoration import ScenePaths

    if values["std"] is not None and values["no_uncertainty"]:
        raise InputError("--std and --no-uncertainty exclude each other")
    return ScenePaths(
        input=source, output=output, std=values["std"], uncertainty=not values["no_uncertainty"], samples=values["save_samples"],
        overwrite=values["overwrite"], resume=values["resume"],
    )  # fmt: skip


def _summary(result: SceneResult) -> str:
    lines = [
        f"restored  {result.restored}",
        f"std       {result.std or 'not written'}",
        *([f"sensor    {result.sensor_file}"] if result.sensor_file else []),
        f"{result.width} x {result.height} pixels, band {','.join(map(str, result.bands))}, sensor {result.sensor}, prior {result.prior}, "
        f"{result.method}, {result.iterations} iterations, {result.seconds:.1f} s, {result.peak_memory_mb:.0f} MB",
    ]
    if result.reference:
        r = result.reference
        lines.append(f"against the reference: PSNR {r['psnr_before']:.2f} dB before, {r['psnr_after']:.2f} dB after")
        if "coverage_90" in r:
            lines.append(f"interval coverage: {r['coverage_90']:.3f} at 90 %, {r['coverage_95']:.3f} at 95 %")
    return "\n".join(lines + [f"note: {n}" for n in result.notes])


def _is_spread(values: dict[str, Any]) -> bool:
    """Whether one scene is to be shared among processes: where asked for, or where there are several GPUs."""
    from imaging.archive import gpu_count

    workers = values.get("workers")
    if workers is not None:
        return bool(workers != 1)
    return values.get("scheduler") is not None or (values["device"] != "cpu" and gpu_count() > 1)


def run(source: Path, output: Path | None, **values: Any) -> None:
    """One restoration or those of an archive, with messages on standard error and results on standard output."""
    from imaging.archive import restore_spread
    from imaging.archive.manifest import is_archive
    from imaging.cli.archive import executors, refuse_for_one, run_archive
    from imaging.restoration import plan_scene, restore_scene

    options, paths = _options(values), _paths(source, output, values)
    if values["verbose"]:
        click.echo(f"{options}\n{paths}", err=True)
    if is_archive(source):
        run_archive(source, output, options, paths, values)
        return
    refuse_for_one(source, values, ("shard", "log"))
    if values["dry_run"]:
        plan = plan_scene(paths, values["sensor"], options)
        shown = [f"{k:18s} {v}" for k, v in plan.items() if k != "notes"] + [f"note: {n}" for n in plan["notes"]]
        click.echo(json.dumps(plan) if values["as_json"] else "\n".join(shown))
        return
    with progress_bar(values["quiet"]) as bar:
        if _is_spread(values):
            make, workers = executors(values.get("workers"), values.get("scheduler"))
            result = restore_spread(
                paths, values["sensor"], options, make_executor=make, workers=workers, progress=bar, reference=values["reference"]
            )
        else:
            result = restore_scene(paths, values["sensor"], options, progress=bar, reference=values["reference"])
    if values["as_json"]:
        click.echo(json.dumps(asdict(result)))
    elif not values["quiet"]:
        click.echo(_summary(result))


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Only Python writes to standard error: libtiff prints there, past GDAL's error handling, when a disk is full."""
    try:
        own = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        own = False
    if not own:
        yield
        return
    before, kept = sys.stderr, os.dup(2)
    with os.fdopen(kept, "w", encoding=before.encoding, errors=before.errors, buffering=1) as stderr, open(os.devnull, "w") as nowhere:
        before.flush()
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = stderr
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(kept, 2)


def guarded(action: Any, *arguments: Any, **values: Any) -> None:
    """Run, and end with one sentence and the right exit code instead of a traceback."""
    # Raised while compressai and torchvision are imported; nothing a user could do about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    try:
        with nullcontext() if values.get("verbose") else _quiet_libraries():
            action(*arguments, **values)
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except ImagingError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command with --resume goes on from the finished tiles.", err=True)
        sys.exit(1)
    except Exception as error:
        if values.get("verbose"):
            raise
        click.echo(
            f"Error: the restoration failed ({type(error).__name__}: {one_line(error)}); run again with -v for the details", err=True
        )
        sys.exit(1)


def _sensors() -> None:
    from imaging.sensors import builtin_sensors, load_profile

    for name in builtin_sensors():
        profile = load_profile(name)
        click.echo(f"{name:14s} {profile.title} [{', '.join(b.name for b in profile.bands)}]")


def _priors() -> None:
    from imaging.bilevel import list_regularizers, load_regularizer
    from imaging.priors import list_priors
    from imaging.restoration.methods import method_of

    for prior in list_priors():
        click.echo(f"{prior.name:14s} {prior.channels} channel(s)  {prior.title}")
    for learned in map(load_regularizer, list_regularizers()):
        click.echo(f"{learned.name:14s} --method {method_of(learned)}  {learned.title}")


def _describe(name: str) -> None:
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


def instead(action: Callable[..., None]) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Callback of an option that does something else than restore; a text value is the action's argument."""

    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value and not ctx.resilient_parsing:
            guarded(action, *([value] if isinstance(value, str) else []))
            ctx.exit()

    return callback


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--input", "source", type=PATH, required=True, metavar="SCENE|PRODUCT|FOLDER|PATTERN|TABLE.csv",
    help="Scene to restore, any raster GDAL reads, or a product as delivered (DIMAP, Sentinel-2 SAFE, Landsat); or several: a folder, "
    "a quoted pattern, a table.",
)  # fmt: skip
@click.option("--output", type=PATH, help="Restored scene; default <stem>_restored.tif beside the input. For several a folder.")
@_with_options
@click.option("--workers", type=int, help="Processes that share several scenes, or the tiles of one.  [default: one for each GPU, else 1]")
@click.option("--shard", metavar="i/n", help="Of several scenes: every n-th from the i-th on, for job arrays.")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask cluster instead.")
@click.option("--log", type=PATH, help="Of several scenes: a line of JSON for each.  [default: archive.jsonl in the output folder]")
@click.option(
    "--list-sensors", is_flag=True, is_eager=True, expose_value=False, callback=instead(_sensors), help="Show the sensor profiles."
)
@click.option("--list-priors", is_flag=True, is_eager=True, expose_value=False, callback=instead(_priors), help="Show the released priors.")
@click.option("--describe-sensor", metavar="NAME", is_eager=True, expose_value=False, callback=instead(_describe), help="Show one profile.")
@click.version_option(__version__)
def main(source: Path, output: Path | None, **values: Any) -> None:
    """Restore an optical satellite scene: denoise and deblur it, with a standard deviation for every pixel.

    Writes <stem>_restored.tif and <stem>_std.tif beside the input, georeference and data type kept. Exit code 0 when done, 2 for
    input that cannot be used (nothing is written then), 1 when something failed while working, 3 when some of several scenes failed.
    """
    guarded(run, source, output, **values)


@click.command("restore", context_settings={"max_content_width": 110})
@click.argument("source", metavar="INPUT", type=PATH)
@click.argument("output", metavar="OUTPUT", type=PATH)
@_with_options
def rio_restore(source: Path, output: Path, **values: Any) -> None:
    """Restore an optical satellite scene, with a standard deviation for every pixel (see imaging-restore --help)."""
    guarded(run, source, output, **values)
