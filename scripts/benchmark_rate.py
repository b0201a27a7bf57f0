"""Choose the rate scale without the truth: four rules compared on validation scenes.

    python scripts/benchmark_rate.py --data DATA_FOLDER [--prior NAME|DIR] [--output table.md]

Each scene is fitted on one lattice at seven rate scales around the default. The rules: the expected error (the default, see
`imaging.posterior.rate_scale`), the noise alone (decoder deviation 2.4 times that of the noise at the mean signal), the evidence lower
bound (mean objective of the last four iterations, the least wins) and the discrepancy principle (mean squared standardised residual of the
posterior mean, the one nearest to 1 wins). PSNR of the fit that a rule chooses, mean over scenes, beside that of the best scale for each
scene, which takes the truth. Scenes: naip_rgbn_60cm/val tiles 6 to 9, panchromatic means, none in the benchmark.
"""

from __future__ import annotations

import numpy as np
import torch
from benchmark_restoration import FULL, SENSORS, Trial, benchmark_parser, sensor, tiles, trial

from imaging.posterior import VBLE, FitSettings
from imaging.priors import load_prior
from imaging.sensors import sensor_physics

PROBLEMS = SENSORS | {
    "nearly no blur, noise 0.02": (0.9, 25.0),
    "nearly no blur, noise 0.05": (0.9, 10.0),
    "MTF 0.20, noise 0.05": (0.2, 10.0),
}
STEPS = 2.0 ** np.arange(-1.5, 1.6, 0.5)
RULES = ("expected error (default)", "noise", "evidence bound", "discrepancy", "best, by the truth")


def fits(t: Trial, model: VBLE) -> tuple[np.ndarray, float]:
    """Rate scale, PSNR, objective and mean squared standardised residual of each fit, ``(7, 4)``, and the scale of the noise rule."""
    margin = model.prior.border + 6
    physics = sensor_physics(t.profile.bands, FULL, margin)
    default = float(model.begin(t.y, physics, border=0).problem.rate_scale)
    rows = []
    for scale in default * STEPS:
        posterior = model.fit(t.y, physics, border=0, rate_scale=float(scale))
        mean = posterior.mean(8)
        quality = t.quality(mean, margin)
        signal = physics.A(mean)
        residual = float(((t.y - signal).square() / physics.noise_model.variance(signal)).mean())
        rows.append((float(scale), quality, float(posterior.objective[-4:].mean()), residual))
    deviation = physics.noise_model.variance(t.y.mean().reshape(1, 1, 1, 1)).sqrt()
    return np.array(rows), model.prior.gamma / (2.4 * float(deviation))


def chosen(rows: np.ndarray, noise: float) -> list[float]:
    """PSNR of the fit that each rule takes; the noise rule the nearest on the grid."""
    scale, quality, objective, residual = rows.T
    picks = (
        len(STEPS) // 2, np.abs(np.log(scale / noise)).argmin(), objective.argmin(), np.abs(residual - 1).argmin(), quality.argmax(),
    )  # fmt: skip
    return [float(quality[k]) for k in picks]


def main() -> None:
    """Parse, run, print."""
    arguments = benchmark_parser(__doc__).parse_args()
    torch.manual_seed(0)
    model = VBLE(load_prior(arguments.prior), FitSettings())
    lines = ["| problem | default scale | " + " | ".join(RULES) + " |", "|---" * (len(RULES) + 2) + "|"]
    total = []
    for name, (nyquist, snr) in PROBLEMS.items():
        found, scales = [], []
        for k, truth in enumerate(tiles(arguments.data, "val", 6, 10)):
            rows, noise = fits(trial(truth, sensor(nyquist, snr), 700 + k), model)
            found.append(chosen(rows, noise))
            scales.append(rows[len(STEPS) // 2, 0])
        mean = np.mean(found, 0)
        total.append(mean)
        lines.append(f"| {name} | {np.mean(scales):.2f} | " + " | ".join(f"{q:.2f}" for q in mean) + " |")
        print(lines[-1], flush=True)
    lines.append("| mean | | " + " | ".join(f"{q:.2f}" for q in np.mean(total, 0)) + " |")
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
