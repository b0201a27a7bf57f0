"""``imaging-restore`` and ``rio restore``: parse, call the package once, say what happened."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging import names
from imaging.cli import completion, listing
from imaging.cli.bundles import BUNDLES, bundle_lines, fuse_options, is_bundle
from imaging.cli.guard import guarded, instead
from imaging.cli.help import examples
from imaging.cli.parameters import FOLDER, PATH, Batch, Noise
from imaging.cli.progress import progress_bar
from imaging.cli.shared import HINT, LOOK, RUNNING, SEVERAL, bands_option, choice, number, source_option, with_options
from imaging.errors import InputError
from imaging.version import __version__

if TYPE_CHECKING:
    from imaging.restoration import FuseOptions, RestoreOptions, ScenePaths

_OPTIONS = [
    click.option(
        "--sensor", metavar="NAME|FILE.toml|estimate", shell_complete=completion.sensors,
        help="Sensor by name (see --list-sensors), from a file of yours, or estimated from the scene. Products name it themselves.",
    ),
    click.option("--std", type=PATH, help="Standard deviations.  [default: <stem>_std.tif beside the restored scene]"),
    click.option("--no-uncertainty", is_flag=True, help="Write no standard deviations."),
    click.option(
        "--method", default=names.AUTO, metavar="NAME", shell_complete=completion.one_of((names.AUTO, *names.METHODS, names.GAUSSIAN)),
        help="amortised: one pass, with standard deviations; vble-xz, vble or map: a fit, with them; tv, foe, crr or wcrr: a learned "
        f"regulariser, without. Bundles are fused by amortised, gaussian or vble-xz.  [default: {names.DEFAULT_METHOD}; of bundles whose "
        "bands no network knows gaussian]",
    ),
    click.option("--no-fallback", is_flag=True, help="Insist on the pass, as method or start, for scenes that its network does not know."),
    click.option(
        "--prior", metavar="NAME|DIR", shell_complete=completion.priors,
        help="What is known of scenes in general; see --list-priors.  [default: by the bands, or by the method]",
    ),
    click.option("--download", is_flag=True, help="Allow to fetch a prior of compressai's zoo, --prior compressai:NAME-QUALITY."),
    choice("--scale", names.SCALES, "2 also halves the ground sample distance.", default=1),
    bands_option("restore"),
    number("--samples", "N", "Posterior samples to save; needs --save-samples.  [default: 0]", int, default=0),
    click.option("--save-samples", type=FOLDER, metavar="DIR", help="Existing folder for the samples."),
    number(
        "--iterations", "N",
        "Steps of a fit, or orientations of the pass (1, 2, 4); fewer are faster.  [default: 24, of regularisers 60, of the pass 2]", int,
    ),
    number("--rate-scale", "S", "Scale of the prior's bit rate; smaller regularises more.  [default: by the noise]"),
    number("--weight", "W", "Of the prior against the measurement; 1 is Bayes' rule.  [default: 1, at scale 2 1.5]"),
    click.option("--uncalibrated", is_flag=True, help="Standard deviations of the fit itself, without the prior's calibration."),
    number("--seed", "N", "Of the random draws.", int, default=0, show_default=True),
    number("--tile", "PIXELS", "Side of a tile, a multiple of 32 from 64.  [default: by the method and a fixed memory]", int),
    number("--halo", "PIXELS", "Around a tile, taking part in its fit; a multiple of 16.  [default: by the method and the PSF]", int),
    click.option("--batch", type=Batch(), default="auto", metavar="auto|N", help="Tiles fitted together.  [default: auto]"),
    choice("--device", names.DEVICES, "Where to compute.", default=names.AUTO),
    number("--mtf-nyquist", "M", "MTF at Nyquist, above 0 and below 0.95, in place of the profile's."),
    click.option(
        "--noise", type=Noise(), default="profile", show_default=True, metavar="profile|estimate|SIGMA0,GAIN",
        shell_complete=completion.one_of(names.NOISES),
        help="From the profile, from the scene, or as given: variance SIGMA0^2 + GAIN * signal, in DN.",
    ),
    click.option("--reference", type=PATH, metavar="TRUTH.tif", help="Compare with this truth: PSNR and interval coverage."),
    click.option("--report", type=PATH, metavar="PATH.html", help="A page to explore: before and after, uncertainty, fit of the sensor."),
    click.option("--quicklook", type=PATH, metavar="PATH.png", help="One picture: measured, restored and the standard deviation."),
    click.option("--dry-run", is_flag=True, help="Print the plan, write nothing."),
]  # fmt: skip


def _options(values: dict[str, Any]) -> RestoreOptions:
    from imaging.restoration import RestoreOptions

    given = (
        "method", "download", "scale", "bands", "samples", "rate_scale", "weight", "seed", "tile", "halo", "batch", "device", "mtf_nyquist",
        "noise",
    )  # fmt: skip
    chosen = {n: values[n] for n in given} | {n: values[n] for n in ("prior", "iterations") if values[n] is not None}
    return RestoreOptions(calibrated=not values["uncalibrated"], fallback=not values["no_fallback"], **chosen)


def _paths(source: Path, output: Path | None, values: dict[str, Any]) -> ScenePaths:
    from imaging.restoration import ScenePaths

    if values["std"] is not None and values["no_uncertainty"]:
        raise InputError("--std and --no-uncertainty exclude each other")
    return ScenePaths(
        input=source, output=output, std=values["std"], uncertainty=not values["no_uncertainty"], save_samples=values["save_samples"],
        overwrite=values["overwrite"], resume=values["resume"], pan=values["pan"],
    )  # fmt: skip


def _summary(result: Any) -> str:
    lines = [
        f"restored  {result.restored}",
        f"std       {result.std or 'not written'}",
        *([f"sensor    {result.sensor_file}"] if result.sensor_file else []),
        *(bundle_lines(result) if hasattr(result, "pan") else []),
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
    from imaging.archive.manifest import is_archive
    from imaging.cli.archive import refuse_for_one, run_archive
    from imaging.cli.extras import after_scene, asked_for, check_extras
    from imaging.restoration import check_name, check_names, check_request

    check_name(source)
    fused = is_bundle(source, values)
    options, paths = fuse_options(values) if fused else _options(values), _paths(source, output, values)
    if values["verbose"]:
        click.echo(f"{options}\n{paths}", err=True)
    if is_archive(source, whole=values["pansharpen"]):
        check_names(None if source.suffix.lower() == ".csv" else values["sensor"], options)  # scenes of a table may name their own
        run_archive(source, output, options, paths, values)
        return
    refuse_for_one(source, values, ("shard", "log"))
    check_extras(paths, options, values)
    check_request(paths, values["sensor"], options)
    extras = {name: str(path) for name, path in asked_for(values).items()}
    more: dict[str, Any] = {"reference": values["reference"], "afterwards": after_scene(values)}
    if values["dry_run"]:
        _show_plan(paths, options, values, list(extras.values()))
        return
    from imaging.restoration import run_scene

    with progress_bar(values["quiet"], "fusing" if fused else "restoring") as bar:
        if _is_spread(values):
            from imaging.archive import make_executors, restore_spread

            make, workers = make_executors(values.get("workers"), values.get("scheduler"))
            result = restore_spread(paths, values["sensor"], options, make_executor=make, workers=workers, progress=bar, **more)
        else:
            result = run_scene(paths, values["sensor"], options, progress=bar, **more)
    if values["as_json"]:
        click.echo(json.dumps(asdict(result) | extras))
    elif not values["quiet"]:
        click.echo("\n".join([_summary(result), *(f"{name:9s} {path}" for name, path in extras.items())]))


def _show_plan(paths: ScenePaths, options: RestoreOptions | FuseOptions, values: dict[str, Any], extras: list[str]) -> None:
    from imaging.restoration import plan_of

    plan = plan_of(paths, values["sensor"], options)
    plan["outputs"] += extras
    shown = [f"{k:18s} {v}" for k, v in plan.items() if k != "notes"] + [f"note: {n}" for n in plan["notes"]]
    click.echo(json.dumps(plan) if values["as_json"] else "\n".join(shown))


def _doctor(*, as_json: bool) -> None:
    from imaging.cli.doctor import run_doctor

    run_doctor(as_json=as_json)


@click.command(
    **LOOK,
    hint=HINT,
    epilog=examples(
        "imaging-restore",
        {
            "--input scene.tif --sensor pleiades": "scene_restored.tif and scene_std.tif",
            "--input scene.tif --sensor pleiades --dry-run": "the plan, nothing is written",
            "--input scene.tif --sensor estimate": "of a sensor that is not known",
            "--input ms.tif --pan pan.tif --sensor pleiades": "both fused: pansharpening",
            "--input archive/ --output restored/ --sensor spot6": "many scenes",
            "--doctor": "is all well here?",
        },
    ),
)
@source_option("restore", required=False)
@click.option("--output", type=PATH, help="Restored scene, or a folder for several.  [default: <stem>_restored.tif beside the input]")
@with_options(_OPTIONS, BUNDLES, RUNNING, SEVERAL)
@click.option(
    "--list-sensors", is_flag=True, is_eager=True, expose_value=False, callback=instead(listing.sensors), help="Show the sensor profiles."
)
@click.option(
    "--list-priors", is_flag=True, is_eager=True, expose_value=False, callback=instead(listing.priors), help="Show the released priors."
)
@click.option(
    "--describe-sensor",
    metavar="NAME|FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=instead(listing.describe),
    shell_complete=completion.sensor_names,
    help="Show one profile with the sources of its numbers.",
)
@click.option("--doctor", is_flag=True, help="Check this installation: versions, devices, weights, a short restoration; with --json too.")
@completion.show_completion("imaging-restore")
@click.version_option(__version__)
def main(source: Path | None, output: Path | None, *, doctor: bool, **values: Any) -> None:
    """Restore an optical satellite scene: denoise and deblur it, with a standard deviation for every pixel.

    Writes <stem>_restored.tif and <stem>_std.tif beside the input, georeference and data type kept. Exit code 0 when done, 2 for
    input that cannot be used (nothing is written then), 1 when something failed while working, 3 when some of several scenes failed.
    """
    if doctor:
        guarded(_doctor, as_json=values["as_json"])
        return
    if source is None:
        raise click.UsageError("Missing option '--input'. Name a scene and its sensor: --input scene.tif --sensor pleiades")
    guarded(run, source, output, **values)


@click.command("restore", **LOOK, hint="There is one INPUT and one OUTPUT, in this order; see --help for the options.")
@click.argument("source", metavar="INPUT", type=PATH)
@click.argument("output", metavar="OUTPUT", type=PATH)
@with_options(_OPTIONS, BUNDLES, RUNNING)
def rio_restore(source: Path, output: Path, **values: Any) -> None:
    """Restore an optical satellite scene, with a standard deviation for every pixel (see imaging-restore --help)."""
    guarded(run, source, output, **values)
