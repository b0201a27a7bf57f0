"""What a report's checks of the noise model say with the true sensor profile and with wrong ones.

    python scripts/benchmark_checks.py [--input data/pleiades_like_pan.tif] [--sensor pleiades-raw]

Prints a table: the scene's own noise over the profile's, the residual variance of posterior draws over the profile's, and the largest
autocorrelation of that residual; with the profile as it is, its noise times 0.7 and 1.4, its MTF at Nyquist times 4/3 and 2/3.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from imaging.report.noise_check import BandCheck, check_bands
from imaging.restoration import RestoreOptions, ScenePaths, open_restoration
from imaging.sensors import SensorProfile, load_profile


def profiles(profile: SensorProfile) -> dict[str, SensorProfile]:
    """The profile and wrong ones."""
    found = {"as it is": profile}
    for factor in (0.7, 1.4):
        bands = tuple(
            replace(b, noise=b.noise and replace(b.noise, sigma0=factor * b.noise.sigma0, gain=factor**2 * b.noise.gain))
            for b in profile.bands
        )
        found[f"noise x {factor:g}"] = replace(profile, bands=bands)
    for factor in (4 / 3, 2 / 3):
        found[f"MTF x {factor:.2f}"] = profile.with_overrides(mtf_nyquist=factor * profile.bands[0].mtf.nyquist[0])
    return found


def check(path: Path, profile: SensorProfile) -> BandCheck:
    """The first band's."""
    with TemporaryDirectory() as folder:
        job = open_restoration(ScenePaths(input=path, output=Path(folder) / "restored.tif"), profile, RestoreOptions())
        with job.scene:
            return check_bands(job)[0]


def main() -> None:
    """Print the table."""
    root = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=root / "data" / "pleiades_like_pan.tif")
    parser.add_argument("--sensor", default="pleiades-raw")
    arguments = parser.parse_args()
    print("| profile | scene's noise over the profile's | residual's variance over the profile's | largest autocorrelation |")
    print("|---|---|---|---|")
    for name, profile in profiles(load_profile(arguments.sensor)).items():
        found = check(arguments.input, profile)
        words = {True: "", False: " (does not fit)", None: " (cannot be told)"}[found.agrees]
        factor = "" if found.factor is None else f"{found.factor:.2f}"
        residual = found.residual
        figures = f"{residual.ratio:.2f} | {residual.colour:.2f}" if residual else " | "
        print(f"| {name} | {factor}{words} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
