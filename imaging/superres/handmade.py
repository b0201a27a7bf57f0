"""Hand-made networks to compare with; each adds what it finds to bicubic interpolation, as the searched ones do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from imaging.superres.blueprint import INPUT, Blueprint, Draft, blueprint
from imaging.superres.genotype import Genotype
from imaging.superres.space import SearchSpace


def espcn(bands: int = 3, scale: int = 4) -> Blueprint:
    """ESPCN (Shi et al. 2016): 5 x 5 to 64, 3 x 3 to 32, 3 x 3 to the pixels of the shuffle; rectified instead of tanh."""
    draft = Draft()
    a = draft.conv("first", INPUT, bands, 64, 5, relu=True)
    b = draft.conv("second", a, 64, 32, 3, relu=True)
    draft.conv("upsample", b, 32, bands * scale**2, 3)
    return Blueprint(nodes=tuple(draft.nodes), bands=bands, scale=scale)


def fsrcnn(bands: int = 3, scale: int = 4, wide: int = 56, narrow: int = 12, depth: int = 4) -> Blueprint:
    """FSRCNN(56, 12, 4) (Dong et al. 2016), rectified without slopes.

    Its 9 x 9 deconvolution is written as the convolution that it equals, before a pixel shuffle; cost counts the 81 taps alone.
    """
    draft = Draft()
    at = draft.conv("first", INPUT, bands, wide, 5, relu=True)
    at = draft.conv("shrink", at, wide, narrow, 1, relu=True)
    for k in range(depth):
        at = draft.conv(f"map{k}", at, narrow, narrow, 3, relu=True)
    at = draft.conv("expand", at, narrow, wide, 1, relu=True)
    side = 2 * ((9 // 2 + scale - 1) // scale) + 1
    draft.conv("upsample", at, wide, bands * scale**2, side, taps=81 / (side**2 * scale**2))
    return Blueprint(nodes=tuple(draft.nodes), bands=bands, scale=scale)


def distillation(bands: int = 3, scale: int = 4, channels: int = 32, cells: int = 3) -> Blueprint:
    """A residual feature distillation network (after Liu et al. 2020), without its attention, which would look at the whole tile."""
    space = SearchSpace(kind="rfdn", bands=bands, scale=scale, channels=channels, cells=cells)
    sides = {"distil": "1x1", "body": "3x3", "last": "3x3", "upsample": "3x3"}
    choice = {x.name: (sides[x.name.rpartition(".")[2].rstrip("012")], 8) for x in space.layers()}
    return blueprint(Genotype(space, choice))


def gated(bands: int = 3, scale: int = 4, channels: int = 28, cells: int = 4) -> Blueprint:
    """A network with parameter-free attention (after SPAN, Wan et al. 2024): three convolutions, then a gate by their own result."""
    draft, c = Draft(), channels
    at = start = draft.conv("first", INPUT, bands, c, 3)
    for cell in range(cells):
        p = f"cell{cell}."
        a = draft.conv(f"{p}body0", at, c, c, 3, relu=True)
        b = draft.conv(f"{p}body1", a, c, c, 3, relu=True)
        d = draft.conv(f"{p}body2", b, c, c, 3)
        at = draft.join("gate", f"{p}gate", (draft.join("add", f"{p}sum", (at, d), c), d), c)
    smoothed = draft.conv("smooth", at, c, c, 3)
    together = draft.join("concat", "concat", (start, smoothed), 2 * c)
    draft.conv("upsample", draft.conv("collect", together, 2 * c, c, 1), c, bands * scale**2, 3)
    return Blueprint(nodes=tuple(draft.nodes), bands=bands, scale=scale)


HANDMADE: dict[str, Callable[[int, int], Blueprint]] = {"espcn": espcn, "fsrcnn": fsrcnn, "rfdn-like": distillation, "span-like": gated}
"""Hand-made networks by name, each called with bands and scale."""


def at_bits(plan: Blueprint, bits: int) -> Blueprint:
    """The same network, every convolution but the first at so many bits."""
    nodes = tuple(replace(n, bits=bits) if n.kind == "conv" and k else n for k, n in enumerate(plan.nodes))
    return replace(plan, nodes=nodes)
