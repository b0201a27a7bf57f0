"""The physics of a bundle: adjointness, where its grids lie, and what its transfer functions are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.fusion import SpectralPhysics, bundle_margin, bundle_physics, matched
from imaging.sensors import Band, Mtf, Noise
from imaging.sensors.mtf import line_spread, mtf_curve, separable_psf
from tests.fusion.bundles import sensor

PAN = (Band("PAN", 0.5, Mtf("gaussian", (0.15, 0.2)), Noise(0.01, 0.0)),)
MS = tuple(Band(n, 2.0, Mtf("gaussian", (v, 0.3)), Noise(0.005, 0.0)) for n, v in (("R", 0.25), ("G", 0.3), ("B", 0.35)))
WEIGHTS = torch.tensor([[0.5, 0.3, 0.2]])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_spectral_physics_is_adjoint_and_mixes_bands() -> None:
    physics = SpectralPhysics(sensor(2, 0.2, 0.01), torch.tensor([[0.5, 0.3, 0.2], [0.0, 1.0, 2.0]]))
    margin = physics.instrument.margin
    x, y = random(2, 3, 20 + 2 * margin, 24 + 2 * margin), random(2, 2, 20, 24, seed=1)
    seen, back = physics.A(x), physics.A_adjoint(y)
    assert seen.shape == y.shape
    assert back.shape == x.shape
    assert float((seen * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-7)  # weights are float32
    mixed = torch.einsum("kc,bchw->bkhw", physics.weights.double(), x)
    torch.testing.assert_close(seen, physics.instrument.A(mixed))


@pytest.mark.parametrize(("ratio", "shift", "more"), [(2, (0.0, 0.0), 0), (3, (1.2, -0.4), 0), (4, (-1.3, 0.6), 1)])
def test_the_stack_is_adjoint(ratio: int, shift: tuple[float, float], more: int) -> None:
    """``more`` bands come first in the scene that the coarse sensor has not."""
    weights = torch.cat([torch.ones(1, more), WEIGHTS], 1)
    physics = bundle_physics(PAN, MS, weights, 1.0, ratio, shift=shift)
    margin = bundle_margin(MS, ratio, shift)
    assert margin % ratio == 0
    x = random(1, 3 + more, 8 * ratio + 2 * margin, 10 * ratio + 2 * margin)
    seen = physics.A(x)
    assert [tuple(s.shape) for s in seen] == [(1, 1, 8 * ratio, 10 * ratio), (1, 3, 8, 10)]
    y = [random(*s.shape, seed=k) for k, s in enumerate(seen)]
    back = sum(p.A_adjoint(v) for p, v in zip(physics.physics_list, y, strict=True))
    assert back.shape == x.shape
    assert sum(float((a * b).sum()) for a, b in zip(seen, y, strict=True)) == pytest.approx(float((back * x).sum()), rel=1e-7)


@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -1), (-2, 3)])
def test_a_shift_by_whole_pixels_moves_the_scene(ratio: int, right: int, down: int) -> None:
    """A coarse grid further to the right and down sees what an unmoved one sees of a scene moved to the left and up.

    Up to the kernel's last taps, of which a shifted one has some more.
    """
    margin = 12 * ratio
    moved, still = (bundle_physics(PAN, MS, WEIGHTS, 1.0, ratio, shift=s, margin=margin) for s in ((float(right), float(down)), (0.0, 0.0)))
    x = random(1, 3, 8 * ratio + 2 * margin, 9 * ratio + 2 * margin)
    pan, ms = moved.A(x)
    torch.testing.assert_close(ms, still.A(x.roll((-down, -right), (-2, -1)))[1], atol=5e-4, rtol=0)
    torch.testing.assert_close(pan, still.A(x)[0])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.3, -1.7])
def test_line_spread_has_the_curve_about_the_shifted_middle(scale: int, shift: float) -> None:
    kernel = line_spread("gaussian", 0.25, scale, shift)
    n = np.arange(len(kernel)) - len(kernel) // 2 + (scale - 1) / 2 + shift
    frequency = np.linspace(0, 0.5, 21) / scale
    transfer = (kernel * np.exp(-2j * np.pi * frequency[:, None] * n)).sum(1)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert transfer[-1].real == pytest.approx(0.25, abs=1e-12)
    np.testing.assert_allclose(transfer, mtf_curve("gaussian", 0.25, scale * frequency), atol=0.03)


def test_separable_psf_is_shifted_to_the_right_and_down() -> None:
    """A kernel is convolved: what it sees lies on the other side of its middle tap."""
    kernel = separable_psf("gaussian", (0.2, 0.3), 4, (0.7, -1.2))
    assert kernel.shape[0] == kernel.shape[1]
    rows, columns = (np.arange(n) - n // 2 for n in kernel.shape)
    assert -(kernel.sum(0) * columns).sum() == pytest.approx(1.5 + 0.7, abs=0.02)
    assert -(kernel.sum(1) * rows).sum() == pytest.approx(1.5 - 1.2, abs=0.02)


@pytest.mark.parametrize("ratio", [2, 4])
def test_matched_bands_are_to_have_the_target_of_the_sharp_one(ratio: int) -> None:
    """The wanted scene has the sharp target's curve, so that the operator's curve is the quotient of the band's and that."""
    sharp = Mtf("gaussian", (0.15, 0.15), 0.4)
    made = matched(Mtf("gaussian", (0.3, 0.2)), sharp, ratio)
    frequency = np.linspace(0, 0.5, 11) / ratio  # cycles per sharp pixel, up to the coarse band's Nyquist frequency
    wanted = mtf_curve("gaussian", 0.4, frequency)
    for own, used in zip((0.3, 0.2), (n / (made.target or 1.0) for n in made.nyquist), strict=True):
        np.testing.assert_allclose(mtf_curve("gaussian", used, ratio * frequency), mtf_curve("gaussian", own, ratio * frequency) / wanted)
    assert matched(made, Mtf("gaussian", (0.15, 0.15)), ratio).target is None


def test_shapes_that_do_not_fit_are_refused() -> None:
    instrument = sensor(2, 0.2, 0.01)
    with pytest.raises(ValueError, match=r"weights have shape \(3, 4\); expected \(2, C\)"):
        SpectralPhysics(instrument, torch.ones(3, 4))
    with pytest.raises(ValueError, match="weights have shape"):
        SpectralPhysics(instrument, torch.ones(2))
    with pytest.raises(ValueError, match=r"expected \(B, 4, H, W\)"):
        SpectralPhysics(instrument, torch.ones(2, 4)).A(torch.zeros(1, 2, 40, 40))
    with pytest.raises(ValueError, match="multiple of the factor"):
        bundle_physics(PAN, MS, WEIGHTS, 1.0, 4, margin=30)
