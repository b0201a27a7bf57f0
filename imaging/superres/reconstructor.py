"""A released model in torch: under deepinv, and as a first estimate of a posterior at scale 2."""

from __future__ import annotations

import torch
from deepinv.models import Reconstructor
from deepinv.physics import Physics
from torch import Tensor

from imaging.errors import InputError
from imaging.superres.networks import super_resolve
from imaging.superres.zoo import load_network


class SuperResolutionReconstructor(Reconstructor):  # type: ignore[misc]
    """A super-resolution network as deepinv reconstructor: its result does not depend on the physics, for which it was trained or not.

    Parameters
    ----------
    name : str
        Of the zoo, or a model folder.
    quantised : bool
        With the quantisers of training instead of in float.

    Examples
    --------
    As first estimate of VBLE-xz at scale 2, with the margins that the physics of a sensor has around what is measured:

    >>> start = SuperResolutionReconstructor("quantnas-sat-x2").first_estimate(y, margin)  # doctest: +SKIP
    >>> posterior = imaging.VBLE(prior).fit(y, physics, x_init=start)  # doctest: +SKIP
    """

    def __init__(self, name: str, *, quantised: bool = False) -> None:
        super().__init__()
        self.network = load_network(name, quantised=quantised)

    @property
    def factor(self) -> int:
        """Factor of super-resolution."""
        return self.network.plan.scale

    @torch.no_grad()
    def forward(self, y: Tensor, physics: Physics | None = None) -> Tensor:
        """Super-resolve ``(B, C, H, W)`` in [0, 1] to ``(B, C, factor H, factor W)``.

        Raises
        ------
        InputError
            Where the channels are not those of the model; one of one band takes each by itself.
        """
        del physics
        bands, channels = self.network.plan.bands, y.shape[1]
        if bands not in {1, channels}:
            raise InputError(f"the model takes {bands} bands, the measurement has {channels}")
        items = y.reshape(-1, 1, *y.shape[-2:]) if bands == 1 else y
        found = super_resolve(self.network, items, self.network.margin, self.factor)
        return found.reshape(len(y), channels, *found.shape[-2:])

    def first_estimate(self, y: Tensor, margin: int) -> Tensor:
        """The result with so many fine pixels repeated around it, as `imaging.VBLE` takes for ``x_init``."""
        return torch.nn.functional.pad(self(y), (margin,) * 4, mode="replicate")
