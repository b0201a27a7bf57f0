"""What outer methods promise, on problems whose losses and optima can be had exactly."""

from __future__ import annotations

import io
import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from imaging.bilevel import BilevelProblem, HoagSettings, LowerLevel, MaidSettings, TotalVariation, check_hypergradient, hoag, maid
from imaging.bilevel.derivative_free import derivative_free
from imaging.bilevel.directions import scaled
from imaging.bilevel.history import Learned
from imaging.bilevel.regularizers import Regularizer
from imaging.bilevel.vector_problems import LogisticProblem, QuadraticProblem
from imaging.errors import InputError
from tests.bilevel.models import images


class Frozen(TotalVariation):
    """Claims that its gradient does not depend on the parameters, or that nobody knows how."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def mixed_adjoint(self, x: Tensor, q: Tensor, theta: Tensor) -> Tensor:
        """Of the value given."""
        return torch.full_like(theta, self.value)


def denoising(regularizer: Regularizer | None = None, count: int = 3, side: int = 14) -> BilevelProblem:
    truth = images(count, side)
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(7), dtype=truth.dtype)
    return BilevelProblem(LowerLevel(regularizer or TotalVariation()), truth + noise, truth)


def classification(samples: int = 90, features: int = 6, classes: int = 3) -> LogisticProblem:
    """Clouds that overlap, with a feature that says nothing and one that is constant."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(2 * samples) % classes
    centres = torch.randn(classes, features, generator=generator, dtype=torch.float64)
    centres[:, 0] = 0.0
    points = centres[labels] + torch.randn(2 * samples, features, generator=generator, dtype=torch.float64)
    points[:, -1] = 1.0
    return LogisticProblem(points[:samples], labels[:samples], points[samples:], labels[samples:], classes)


def exact_loss(problem: QuadraticProblem, theta: Tensor) -> float:
    return float(0.5 * (problem.upper @ problem.minimiser(theta).flatten() - problem.goal).square().sum())


def assert_certified(learned: Learned, exact: list[float], memory: float, decrease: float) -> None:
    """Each exact loss is below the average of those before by Armijo's share."""
    average, weight = exact[0], 1.0
    for step, loss in zip(learned.history, exact[1:], strict=True):
        assert loss <= average - decrease * step.step * step.slope
        average, weight = (memory * weight * average + loss) / (memory * weight + 1), memory * weight + 1


@pytest.mark.parametrize("memory", [0.0, 0.85])
@pytest.mark.parametrize("way", [{}, {"adaptive": False}, {"barzilai_borwein": True}, {"pairs": 3}])
@pytest.mark.parametrize("accuracy", [1e1, 1e-2])
def test_steps_are_certified_on_images(accuracy: float, way: dict[str, Any], memory: float) -> None:
    problem, theta = denoising(), torch.tensor([-5.0, -5.0], dtype=torch.float64)
    visited, settings = [theta], MaidSettings(accuracy=accuracy, memory=memory, decrease=0.01, **way)
    learned = maid(problem, theta, settings, iterations=12, progress=lambda _, t: visited.append(t))
    assert len(learned.history) == 12
    exact = [problem.loss(problem.solve(t, 1e-9)) for t in visited]
    assert_certified(learned, exact, memory, settings.decrease)
    assert exact[-1] < 0.9 * exact[0]


def test_a_memory_lets_losses_rise_as_far_as_is_certified() -> None:
    problem, theta, risen = QuadraticProblem.random(50, 5), torch.zeros(5, dtype=torch.float64), []
    for memory in (0.0, 0.85):
        visited, settings = [theta], MaidSettings(accuracy=0.1, barzilai_borwein=True, memory=memory, decrease=0.01)
        learned = maid(problem, theta, settings, iterations=60, progress=lambda _, t, to=visited: to.append(t))  # type: ignore[misc]
        exact = [exact_loss(problem, t) for t in visited]
        assert_certified(learned, exact, memory, settings.decrease)
        assert all(s.low <= f <= s.high for s, f in zip(learned.history, exact[1:], strict=True))
        risen.append(sum(b > a for a, b in pairwise(exact)))
    assert risen[0] == 0
    assert risen[1] > 0


def test_barzilai_borwein_steps_have_their_length() -> None:
    problem, theta = QuadraticProblem.random(50, 5), torch.zeros(5, dtype=torch.float64)
    visited, settings = [theta], MaidSettings(accuracy=1e-9, tolerance=1e-9, relax=1.0, barzilai_borwein=True, memory=0.9, adaptive=False)
    learned = maid(problem, theta, settings, iterations=25, progress=lambda _, t: visited.append(t))
    mapping = problem.upper @ torch.linalg.lstsq(problem.lower, problem.coupling).solution
    hessian, checked = mapping.T @ mapping, 0
    for before, (a, b), step in zip(learned.history, pairwise(visited), learned.history[1:], strict=False):
        moved, changed = b - a, hessian @ (b - a)
        long, short = float(moved @ moved / (moved @ changed)), float(moved @ changed / (changed @ changed))
        expected, plain = long if long < 2 * short else short, settings.grow * before.step
        halvings = math.log2(min(max(expected, plain / 100), plain * 100) / step.step)
        assert halvings == pytest.approx(round(halvings), abs=1e-3)
        assert round(halvings) >= 0
        checked += round(halvings) == 0 and not 0.9 < expected / plain < 1.1
    assert checked > 10, "most were tried and taken"


@pytest.mark.parametrize("seed", [0, 2])
def test_maid_finds_the_optimum_of_the_quadratic(seed: int) -> None:
    problem, theta = QuadraticProblem.random(50, 5, seed), torch.zeros(5, dtype=torch.float64)
    assert check_hypergradient(problem, theta) < 1e-6
    best = problem.optimum()
    settings = MaidSettings(accuracy=0.1, floor=1e-14, barzilai_borwein=True, memory=0.85, trials=10)
    learned = maid(problem, theta, settings, iterations=400, gradient_tolerance=1e-8)
    assert learned.status == "converged"
    assert exact_loss(problem, learned.theta) == pytest.approx(exact_loss(problem, best), rel=1e-6)
    torch.testing.assert_close(learned.theta, best, rtol=1e-6, atol=1e-6 * float(best.norm()))
    plain = MaidSettings(accuracy=0.1, floor=1e-14)
    few = maid(QuadraticProblem.random(50, 5, seed), theta, plain, iterations=400, budget=problem.cost.total)
    assert exact_loss(problem, few.theta) > 1.01 * exact_loss(problem, best), "without, the same work does not suffice"


def test_maid_finds_the_least_loss_of_the_quadratic_of_full_size() -> None:
    problem = QuadraticProblem.random(1000, 10)
    settings = MaidSettings(accuracy=0.1, floor=1e-14, barzilai_borwein=True, memory=0.85, trials=10)
    learned = maid(problem, torch.zeros(10, dtype=torch.float64), settings, iterations=1000)
    assert exact_loss(problem, learned.theta) == pytest.approx(exact_loss(problem, problem.optimum()), rel=1e-6)


@pytest.mark.parametrize("accuracy", [1.0, 1e-2, 1e-6])
def test_minimisers_and_losses_lie_within_their_bounds(accuracy: float) -> None:
    quadratic, theta = QuadraticProblem.random(40, 4, seed=3), torch.full((4,), 0.3, dtype=torch.float64)
    solution = quadratic.solve(theta, accuracy)
    low, high = quadratic.interval(solution)
    assert float((solution.x - quadratic.minimiser(theta)).norm()) <= float(solution.bound) <= accuracy
    assert low <= exact_loss(quadratic, theta) <= high
    logistic = classification()
    theta = logistic.start() + torch.linspace(-1, 1, 18, dtype=torch.float64)
    solution, exact = logistic.solve(theta, accuracy), logistic.solve(theta, 1e-12)
    low, high = logistic.interval(solution)
    assert float((solution.x - exact.x).norm()) <= float(solution.bound) <= accuracy
    assert low <= logistic.loss(exact) <= high
    assert high - low <= 2 * logistic.lipschitz * float(solution.bound)


def test_constants_of_the_logistic_regression_are_bounds() -> None:
    problem = classification()
    theta = problem.start() + torch.linspace(-1, 1, 18, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 100.0):
        w = scale * torch.randn(problem.origin.shape, generator=generator, dtype=torch.float64)
        basis = torch.eye(18, dtype=torch.float64).reshape(18, *w.shape[1:])
        dense = torch.stack([problem.hessian(w, v[None], theta).flatten() for v in basis])
        values = torch.linalg.eigvalsh(dense)
        convexity, smoothness = problem.curvatures(theta)
        assert convexity <= float(values[0]) * (1 + 1e-12)
        assert float(values[-1]) <= smoothness
        by_autograd = w.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(problem.validation @ by_autograd[0, 0], problem.validation_labels)
        (slope,) = torch.autograd.grad(loss, by_autograd)
        assert float(slope.norm()) <= problem.lipschitz
    assert problem.curvatures(theta)[0] == pytest.approx(math.exp(-4))


def test_logistic_regression_is_learned() -> None:
    problem = classification()
    assert check_hypergradient(problem, problem.start() + torch.linspace(-1, 1, 18, dtype=torch.float64)) < 1e-6
    visited, settings = [problem.start()], MaidSettings(accuracy=0.1, barzilai_borwein=True)
    learned = maid(problem, problem.start(), settings, iterations=15, progress=lambda _, t: visited.append(t))
    exact = [problem.loss(problem.solve(t, 1e-10)) for t in visited]
    assert_certified(learned, exact, 0.0, settings.decrease)
    assert all(s.low <= f <= s.high for s, f in zip(learned.history, exact[1:], strict=True))
    other = hoag(classification(), problem.start(), HoagSettings(accuracy=0.1), iterations=40)
    assert problem.loss(problem.solve(other.theta, 1e-10)) < exact[0]
    assert exact[-1] < 0.95 * exact[0]


def test_decay_of_each_coefficient_is_learned_from_digits() -> None:
    pixels, labels = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits(return_X_y=True)
    samples, labels = torch.from_numpy(pixels) / 16, torch.from_numpy(labels)
    problem = LogisticProblem(samples[:200], labels[:200], samples[200:400], labels[200:400], 10)
    start = problem.start()
    learned = maid(problem, start, MaidSettings(accuracy=0.1, pairs=10), iterations=4)
    losses = [problem.loss(problem.solve(theta, 1e-4)) for theta in (start, learned.theta)]
    assert losses[1] < 0.75 * losses[0]
    assert learned.history[-1].low <= losses[1] <= learned.history[-1].high
    right = [
        float(((samples[400:] @ problem.solve(t, 1e-3).x[0, 0]).argmax(1) == labels[400:]).double().mean()) for t in (start, learned.theta)
    ]
    assert right[1] >= right[0] > 0.7


@pytest.mark.parametrize("settings", [MaidSettings(), MaidSettings(barzilai_borwein=True, memory=0.85), MaidSettings(pairs=3)])
def test_a_run_that_is_saved_and_gone_on_from_is_the_same_run(settings: MaidSettings) -> None:
    theta = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    whole = maid(denoising(), theta, settings, iterations=10)
    half = maid(denoising(), theta, settings, iterations=5)
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    saved = Learned.from_state_dict(torch.load(file, weights_only=True))
    assert (saved.history, saved.status) == (half.history, half.status)
    resumed = maid(denoising(), saved, settings, iterations=5)
    assert resumed.history == whole.history
    assert len(half.history) == 5, "what was gone on from stays as it is"
    assert whole.state is not None
    assert resumed.state is not None
    expected, found = whole.state.state_dict(), resumed.state.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    spent = maid(denoising(), saved, settings, iterations=5, budget=half.history[-1].cost - 1)
    assert (spent.status, spent.history) == ("budget", half.history)


def test_results_without_a_state_are_not_gone_on_from() -> None:
    problem, theta = denoising(), torch.tensor([-3.0, -4.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="no state to go on from"):
        maid(problem, hoag(problem, theta, iterations=1))


def test_histories_are_tables(tmp_path: Path) -> None:
    learned = maid(denoising(), torch.tensor([-5.0, -5.0], dtype=torch.float64), iterations=4)
    table = learned.table()
    assert table["high"] == [s.high for s in learned.history]


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_hypergradients_that_say_nothing_are_no_success(value: float) -> None:
    theta = torch.tensor([-3.0, -4.0], dtype=torch.float64)
    learned = maid(denoising(Frozen(value)), theta, gradient_tolerance=1e-3)
    assert (learned.status, learned.history) == ("stalled", [])
    assert learned.theta is theta
    assert hoag(denoising(Frozen(value)), theta).status == "stalled"
    assert maid(denoising(Frozen(value)), theta, budget=500).status == "budget"


def test_pairs_make_newton_steps_of_a_quadratic() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    hessian = root @ root.T + torch.eye(4, dtype=torch.float64)
    steps = torch.linalg.eigh(hessian).eigenvectors.T  # conjugate to each other
    z = torch.randn(4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(scaled(z, steps, steps @ hessian), torch.linalg.solve(hessian, z))
    assert float(scaled(z, steps[:2], steps[:2] @ hessian) @ z) > 0


@pytest.mark.parametrize("schedule", ["geometric", "quadratic", "cubic"])
def test_pairs_take_hoag_to_the_optimum_of_the_quadratic(schedule: str) -> None:
    losses, best = [], exact_loss(problem := QuadraticProblem.random(50, 5), problem.optimum())
    for pairs in (0, 5):
        settings = HoagSettings(schedule=schedule, accuracy=0.1, pairs=pairs)
        learned = hoag(QuadraticProblem.random(50, 5), torch.zeros(5, dtype=torch.float64), settings, iterations=120)
        losses.append(exact_loss(problem, learned.theta))
    assert losses[1] == pytest.approx(best, rel=1e-4)
    assert losses[1] < losses[0]


def test_pairs_find_the_same_parameters_from_any_accuracy_with_less_work() -> None:
    theta, found, spent = torch.tensor([-5.0, -5.0], dtype=torch.float64), [], []
    plain = MaidSettings(accuracy=1e-2, adaptive=False, coarsest=1.0)
    for settings in (MaidSettings(accuracy=1e2, pairs=5, floor=1e-10), MaidSettings(accuracy=1e-4, pairs=5, floor=1e-10), plain):
        problem = denoising(count=5, side=32)
        learned = maid(problem, theta, settings, iterations=500, budget=16_000)
        found.append(learned.theta)
        spent.append(problem.cost.total)
    assert max(spent[:2]) < 0.6 * spent[2]
    torch.testing.assert_close(found[0], found[1], rtol=0.01, atol=0)
    assert problem.loss(problem.solve(found[0], 1e-8)) <= problem.loss(problem.solve(found[2], 1e-8))


@pytest.mark.parametrize("memory", [-0.1, 1.0, math.nan])
def test_memories_are_shares(memory: float) -> None:
    with pytest.raises(ValueError, match="memory is"):
        MaidSettings(memory=memory)


def test_learning_without_derivatives_lowers_the_loss() -> None:
    pytest.importorskip("dfols", reason="DFO-LS is not installed")
    theta = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    problem = denoising(side=10)
    learned = derivative_free(problem, theta, 1e-3, evaluations=40)
    exact = [problem.loss(problem.solve(t, 1e-9)) for t in (theta, learned.theta)]
    assert exact[1] < 0.9 * exact[0]
    assert learned.history[-1].low <= exact[1] <= learned.history[-1].high
    assert learned.history[-1].cost <= problem.cost.total
    short = derivative_free(denoising(side=10), theta, 1e-3, budget=learned.history[1].cost)
    assert short.status == "budget"
    assert repr(short.history) == repr(learned.history[: len(short.history)]), "without gradients they hold NaN, which equals nothing"


def test_learning_without_derivatives_wants_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, theta = denoising(), torch.tensor([-5.0, -5.0], dtype=torch.float64)
    monkeypatch.setitem(sys.modules, "dfols", None)
    with pytest.raises(InputError, match="try pip install DFO-LS"):
        derivative_free(problem, theta, 1e-3)
    with pytest.raises(ValueError, match="hold the parameters"):
        derivative_free(problem, theta, 1e-3, bounds=(-4.0, 4.0))
