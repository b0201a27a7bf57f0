"""The factorised density: a cumulative, as in its paper, and compressai's where that is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from imaging.errors import InputError
from imaging.priors.compressai_zoo import cached_file
from imaging.priors.factorized import FactorizedDensity
from imaging.priors.families import make_prior


def trained(channels: int = 3) -> FactorizedDensity:
    """A density whose weights are alive everywhere."""
    torch.manual_seed(0)
    density = FactorizedDensity(channels)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return density.requires_grad_(False)


def test_logits_are_those_of_the_paper() -> None:
    density = trained(2).double()
    values = np.linspace(-30, 30, 13)
    for channel in range(2):
        layers = [[p[channel].numpy() for p in group] for group in (density.matrices, density.biases, density.factors)]
        for value in values:
            x = np.array([[value]])
            for k, (matrix, bias) in enumerate(zip(layers[0], layers[1], strict=True)):
                x = np.log1p(np.exp(matrix)) @ x + bias
                if k < 4:
                    x = x + np.tanh(layers[2][k]) * np.tanh(x)
            found = density.logits(torch.full((2, 1, 1), value, dtype=torch.float64))[channel]
            assert float(found) == pytest.approx(x.item(), rel=1e-12)


def test_the_cumulative_rises_from_nothing_to_all() -> None:
    cumulative = torch.sigmoid(trained().double().logits(torch.linspace(-2000, 2000, 8001).double().expand(3, 1, -1)))
    assert (cumulative.diff() >= 0).all()
    assert float(cumulative[..., 0].max()) < 1e-6
    assert float(cumulative[..., -1].min()) > 1 - 1e-6


def test_an_untrained_density_is_as_wide_as_it_is_said_to_be() -> None:
    """Logistic but for the offsets: the slope of the logit is one over the spread."""
    logits = FactorizedDensity(5).double().logits(torch.tensor([-3.0, 4.0]).double().expand(5, 1, 2))
    torch.testing.assert_close((logits[..., 1] - logits[..., 0]).detach(), torch.full((5, 1), 0.7, dtype=torch.float64))


def test_weights_and_logits_are_those_of_compressai() -> None:
    models = pytest.importorskip("compressai.entropy_models")
    torch.manual_seed(4)
    theirs = models.EntropyBottleneck(5)
    torch.manual_seed(4)
    ours = FactorizedDensity(5)
    for (name, mine), (same, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        assert torch.equal(mine, other)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    theirs.quantiles.data = theirs.quantiles.data.sort().values
    theirs.update()  # tables of its entropy coder, which the state dict holds from then on
    ours.load_state_dict(theirs.state_dict())
    h = 20 * torch.randn(5, 1, 100)
    assert torch.equal(ours.logits(h), theirs._logits_cumulative(h, stop_gradient=False))


def test_without_compressai_what_needs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == "imaging.priors.published" or n.partition(".")[0] == "compressai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "compressai", None)
    advice = r"needs the package compressai: pip install 'imaging-restore\[compressai\]'"
    if sys.version_info >= (3, 13):
        advice = r"needs the package compressai, which there is for Python 3\.12 and older alone"
    for family in ("mean-scale", "mbt", "cheng", "factorized"):
        with pytest.raises(InputError, match=f"the prior family {family} {advice}"):
            make_prior(family, {})
    with pytest.raises(InputError, match=f"the prior compressai:mbt2018-8 {advice}"):
        cached_file("compressai:mbt2018-8")
    with pytest.raises(InputError, match="unknown prior 'compressai:elic-3'"):
        cached_file("compressai:elic-3")
    assert make_prior("lapped", {"width": 8, "blocks": 1, "fine": 4, "hyper": 4, "hidden": 8}).bottleneck.channels == 4
