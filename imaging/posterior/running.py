"""A fit under way: one step more, its state, and the posterior it has reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imaging.draws import antithetic, position_key
from imaging.posterior.families import LOG_WIDTH_RANGE, Dirac, Family, Gaussian, Uniform
from imaging.posterior.fitted import Frame, LatentPosterior
from imaging.posterior.likelihood import SensorLikelihood
from imaging.posterior.measurement import Measurement, information
from imaging.posterior.settings import FitSettings, decoding
from imaging.priors.base import LatentPrior

_DAMPING = 0.1
"""Adam's epsilon, nats per expected width: slopes far below it are noise, and a full step along them only amplifies rounding."""
_LAST, _SETTLED = 0.22, 11
"""Last learning rate over the first: few iterates go on moving, as their mean is taken; of many it falls as (this / iterations) ** 2."""
_LATE, _MOST, _FEWEST = 0.4, 10, 10
"""Share of the iterations whose mean is the result, so many at most, of at least so many iterations; of fewer the last counts."""
_START = 0.8
"""Width that a density of the main latents starts with over the one that curvatures promise: few steps settle better from below."""
_MOMENTUM = 0.4
"""Adam's first decay: short, as mirrored draws leave little noise and few iterations are made."""


@dataclass(frozen=True)
class FitInputs:
    """What a fit is given and does not change.

    ``rate_scale`` is ``(B, 1, 1, 1)``; ``frame`` is where the scene lies within the canvas. ``origins`` are the absolute latent row and
    column of each item, ``seed`` is that of all draws, and ``weight`` that of the Kullback-Leibler term.
    """

    prior: LatentPrior
    settings: FitSettings
    pieces: list[Measurement]
    frame: Frame
    rate_scale: Tensor
    origins: list[tuple[int, int]]
    seed: int
    weight: float

    def canvas(self, z: Tensor) -> Tensor:
        """Decoder mean in the scene's units, margins included."""
        with decoding(z, self.settings.precision):
            return self.prior.decode(z).to(z.dtype) / self.rate_scale

    def scene(self, z: Tensor) -> Tensor:
        """Decoder mean in the scene's frame and units."""
        return self.frame.crop(self.canvas(z))

    def objective(self, main: Family, hyper: Family, noise: tuple[Tensor, Tensor]) -> Tensor:
        """Nats of each item, ``(B,)``, for one draw of the densities of main and hyper latents."""
        z, h = main.draw(noise[0]), hyper.draw(noise[1])
        x = self.scene(z)
        with decoding(z, self.settings.precision):
            rate = -self.prior.log_prob(z, h)
        return SensorLikelihood.nats(x, self.pieces) + self.weight * (rate - main.entropy() - hyper.entropy())


class RunningFit:
    """A fit under way, by Adam in units of the width that each density is expected to have; `VBLE.begin` makes one.

    It starts from latents ``z`` and ``h``; ``width`` are the expected full widths of uniform densities of the main latents, of the shape of
    ``z``. `state` and `restore` interrupt and resume it: a resumed fit ends in the same bytes as an uninterrupted one.
    """

    def __init__(self, problem: FitInputs, z: Tensor, h: Tensor, width: Tensor) -> None:
        s, prior = problem.settings, problem.prior
        self.problem, self.iteration = problem, 0
        self.history: list[Tensor] = []
        self._late = min(_MOST, round(_LATE * s.iterations)) if s.iterations >= _FEWEST else 1
        self._floor = min(_LAST, (_SETTLED / s.iterations) ** 2)
        self._means: list[Tensor] = []
        ratio = prior.hyper_stride // prior.stride
        self._keys = (
            position_key(z.shape, problem.origins, problem.seed, "z", z.device),
            position_key(h.shape, [(r // ratio, c // ratio) for r, c in problem.origins], problem.seed, "h", h.device),
        )
        self._parameters = [z.clone().requires_grad_(), h.clone().requires_grad_()]
        kind = self._kind = self._family()
        if kind is not Dirac:
            unit = 1 / math.sqrt(12) if kind is Gaussian else 1.0
            self._parameters += [(unit * w).log().requires_grad_() for w in (_START * width, torch.ones_like(h))]
        self._units = [width, *(torch.ones(()).to(p) for p in self._parameters[1:])]
        decays = (_MOMENTUM, min(0.999, 1 - 1 / (s.iterations + 1)))  # slopes are averaged over as many steps as there are
        self._optimizer = torch.optim.Adam([torch.zeros_like(p) for p in self._parameters], lr=s.learning_rate, betas=decays, eps=_DAMPING)
        rows, columns = (n * prior.stride for n in z.shape[-2:])
        frame = problem.frame
        self._pixels = (rows - frame.top - frame.bottom) * (columns - frame.left - frame.right)

    def _family(self) -> type[Family]:
        settings, prior = self.problem.settings, self.problem.prior
        if settings.method == "map":
            return Dirac
        name = prior.density if settings.family == "auto" else settings.family
        return Gaussian if name == "gaussian" else Uniform

    def densities(self) -> tuple[Family, Family]:
        """Densities of main and hyper latents as they are now."""
        z, h, *log_widths = self._parameters
        if self._kind is Dirac:
            return Dirac(z), Dirac(h)
        return self._kind(z, log_widths[0]), self._kind(h, log_widths[1])  # type: ignore[call-arg]

    @property
    def done(self) -> bool:
        """Whether all iterations have been made."""
        return self.iteration >= self.problem.settings.iterations

    @torch.enable_grad()
    def advance(self, steps: int | None = None, progress: Callable[[int], None] | None = None) -> None:
        """Make some iterations, at most and by default those that are left; ``progress`` is called with the number of finished ones."""
        s = self.problem.settings
        left = s.iterations - self.iteration
        for _ in range(left if steps is None else min(steps, left)):
            k = self.iteration
            self._optimizer.param_groups[0]["lr"] = s.learning_rate * max(self._floor, 0.5 * (1 + math.cos(math.pi * k / s.iterations)))
            # What two mirrored draws add to the gradient cancels in its running mean, to first order.
            noise = tuple(antithetic(key, k, p.dtype) for key, p in zip(self._keys, self._parameters[:2], strict=True))
            loss = self.problem.objective(*self.densities(), noise)  # type: ignore[arg-type]
            gradients = torch.autograd.grad(loss.sum(), self._parameters, materialize_grads=True)
            self._step(gradients)
            self._average(k + 1 - (s.iterations - self._late))
            self.history.append(loss.detach() / self._pixels)
            self.iteration = k + 1
            if progress is not None:
                progress(self.iteration)

    @torch.no_grad()
    def _step(self, gradients: tuple[Tensor, ...]) -> None:
        """One step of Adam, whose own parameters hold the last step in units."""
        steps: list[Tensor] = self._optimizer.param_groups[0]["params"]
        for step, gradient, unit in zip(steps, gradients, self._units, strict=True):
            step.zero_()
            step.grad = gradient * unit
        self._optimizer.step()
        for parameter, step, unit in zip(self._parameters, steps, self._units, strict=True):
            parameter.addcmul_(step, unit)
        for log_width in self._parameters[2:]:  # not clamped where it is used: the gradient would not lead back
            log_width.clamp_(*LOG_WIDTH_RANGE)

    @torch.no_grad()
    def _average(self, count: int) -> None:
        """Take the ``count``-th of the late iterates into their mean; with the last of them the mean is what the fit ends with."""
        if count == 1:
            self._means = [p.detach().clone() for p in self._parameters]
        elif count > 1:
            for mean, p in zip(self._means, self._parameters, strict=True):
                mean.lerp_(p, 1 / count)
        if count == self._late:
            for p, mean in zip(self._parameters, self._means, strict=True):
                p.copy_(mean)

    @torch.no_grad()
    def scene(self) -> Tensor:
        """Mean of the scenes that two mirrored draws of the present densities decode to."""
        main, _ = self.densities()
        drawn = [self.problem.scene(main.draw(antithetic(self._keys[0], k, self._parameters[0].dtype))) for k in range(2)]
        return (drawn[0] + drawn[1]) / 2

    def state(self) -> dict[str, Tensor]:
        """Everything that changes during the fit, by name; to be given to `restore`."""
        found = {f"parameter.{k}": p.detach().clone() for k, p in enumerate(self._parameters)}
        found |= {f"mean.{k}": m.clone() for k, m in enumerate(self._means)}
        for k, entry in self._optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{k}.{name}": torch.as_tensor(value).clone() for name, value in entry.items()}
        if self.history:
            found["objective"] = torch.stack(self.history)
        return found

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back, or on, to a state of a fit of the same problem; `ValueError` for one of other latents or of another family."""
        given = [v for k, v in sorted(state.items()) if k.startswith("parameter.")]
        if [v.shape for v in given] != [p.shape for p in self._parameters]:
            raise ValueError("the state belongs to a fit of other latents or of another family")
        for parameter, value in zip(self._parameters, given, strict=True):
            parameter.copy_(value)
        self._means = [v.clone() for k, v in sorted(state.items()) if k.startswith("mean.")]
        inner: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                inner.setdefault(int(index), {})[name] = value.clone()
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": inner})
        self.history = list(state["objective"]) if "objective" in state else []
        self.iteration = len(self.history)

    @torch.no_grad()
    def posterior(self) -> LatentPosterior:
        """The posterior as it is now."""
        p, s = self.problem, self.problem.settings
        family = self._kind(*(v.detach().clone() for v in self._parameters[::2]))
        if s.calibrated:
            family = family.scaled(p.prior.latent_variance)
        known = None if s.method == "vble" else information(p.scene(family.centre), p.pieces)
        objective = torch.stack(self.history) if self.history else torch.zeros(0, len(p.rate_scale))
        return LatentPosterior(p.prior, family, p.rate_scale, known, p.weight, p.frame, p.origins, p.seed, objective, s.precision)
