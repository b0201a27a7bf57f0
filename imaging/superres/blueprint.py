"""What a network is made of: one list of nodes that the torch network, the cost, and the exported file are all made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from imaging.superres.genotype import Genotype
from imaging.superres.operations import Operation
from imaging.superres.space import Layer

INPUT = "input"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of a network; other nodes call its output by its name, and `INPUT` is the image.

    Its kind is ``"conv"``, ``"add"``, ``"concat"``, ``"gate"`` (first input times the sigmoid of the second less 1/2), ``"shuffle"`` or
    ``"unshuffle"`` (between the coarse and the fine grid). ``cin`` are the channels of its first input. It works on the fine grid if
    ``fine``, and ``relu`` sets negative values of the output to 0.

    A convolution has weights and inputs of so many ``bits``. Until it is folded, a batch normalisation follows it with ``norm``, and the
    running standard deviation of the node ``gain``, unless empty, scales its output. ``taps`` is the share of its kernel that is free to be
    other than 0, below 1 only for a deconvolution written as convolution.
    """

    name: str
    kind: str = "conv"
    inputs: tuple[str, ...] = (INPUT,)
    cin: int = 0
    cout: int = 0
    kernel: tuple[int, int] = (1, 1)
    groups: int = 1
    relu: bool = False
    bits: int = 8
    fine: bool = False
    norm: bool = False
    gain: str = ""
    taps: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A super-resolution network: what it adds to bicubic interpolation.

    Attributes
    ----------
    nodes : tuple of Node
        In the order of the data; the last one gives ``bands * scale**2`` channels on the coarse grid, in the order of a pixel shuffle. The
        first one runs in float.
    bands, scale : int
        Of the image.
    normalisation : str
        ``"adq"``, ``"adadm"``, ``"batch"`` or ``"none"``: how cells are normalised until that is folded.
    """

    nodes: tuple[Node, ...]
    bands: int
    scale: int
    normalisation: str = "none"

    def macs(self) -> int:
        """Multiplications for one coarse pixel."""
        return sum(self._macs(n) for n in self.nodes)

    def bitops(self) -> float:
        """Multiplications times bits of both factors, for one coarse pixel."""
        return float(sum(self._macs(n) * n.bits**2 for n in self.nodes))

    def bits_of(self, name: str) -> int:
        """Bits of a node's output: those of the node that needs most of them, which are 8 for all but convolutions."""
        users = [n for n in self.nodes if name in n.inputs]
        return max((n.bits if n.kind == "conv" else 8 for n in users), default=8)

    def _macs(self, node: Node) -> int:
        if node.kind != "conv":
            return 0
        places = self.scale**2 if node.fine else 1
        return round(node.taps * places * node.cin * node.cout * node.kernel[0] * node.kernel[1] / node.groups)

    def margin(self) -> int:
        """Coarse pixels around one that its fine pixels depend on, ends in float not counted."""
        reach = {INPUT: 0.0}
        for node in self.nodes:
            step = max(node.kernel) // 2 / (self.scale if node.fine else 1) if node.kind == "conv" else 0.0
            if node.kind in {"shuffle", "unshuffle"}:
                step = 1 - 1 / self.scale
            reach[node.name] = max(reach[i] for i in node.inputs) + step
        return int(-(-reach[self.nodes[-1].name] // 1))


@dataclass
class Draft:
    """Nodes in the making."""

    normalisation: str = "none"
    nodes: list[Node] = field(default_factory=list)

    def add(self, node: Node) -> str:
        """Append a node; returns its name."""
        self.nodes.append(node)
        return node.name

    def conv(self, name: str, source: str, cin: int, cout: int, side: int, *, relu: bool = False, taps: float = 1.0) -> str:
        """Append a square convolution of 8 bits."""
        return self.add(Node(name=name, inputs=(source,), cin=cin, cout=cout, kernel=(side, side), relu=relu, taps=taps))

    def join(self, kind: str, name: str, sources: tuple[str, ...], channels: int, *, relu: bool = False, fine: bool = False) -> str:
        """Append a node without weights."""
        return self.add(Node(name=name, kind=kind, inputs=sources, cin=channels, cout=channels, relu=relu, fine=fine))

    def layer(self, layer: Layer, choice: tuple[str, int], source: str, prefix: str = "", *, relu: bool = False, gain: str = "") -> str:
        """Append the convolutions of a searched layer; the last one is normalised, scaled and rectified."""
        operation = Operation.parse(choice[0])
        parts = operation.convolutions(layer.cin, layer.cout)
        for k, (cin, cout, kernel) in enumerate(parts):
            last = k == len(parts) - 1
            name = prefix + layer.name + (f".{k}" if len(parts) > 1 else "")
            scaled = last and bool(gain)
            source = self.add(
                Node(
                    name=name, inputs=(source,), cin=cin, cout=cout, kernel=kernel, groups=operation.groups, relu=relu and last,
                    bits=choice[1], fine=layer.fine, norm=scaled and self.normalisation != "none",
                    gain=gain if scaled and self.normalisation in {"adq", "adadm"} else "",
                )
            )  # fmt: skip
        return source


def blueprint(genotype: Genotype, normalisation: str = "none") -> Blueprint:
    """The network of a genotype.

    Parameters
    ----------
    genotype : Genotype
        What was found.
    normalisation : str
        ``"adq"``, ``"adadm"``, ``"batch"`` or ``"none"``. Unlike in the supernet, normalisations stand behind the convolutions and standard
        deviations are running ones, so that both can be folded and no pixel depends on its tile.
    """
    space, draft = genotype.space, Draft(normalisation)
    layers = {layer.name: layer for layer in [*space.layers(), *space.fixed()]}
    source = (_basic if space.kind == "basic" else _rfdn)(genotype, layers, draft)
    last = draft.layer(layers["upsample"], genotype.choice["upsample"], source)
    tails = [layers[f"tail{k}"] for k in range(space.tail) if genotype.choice[f"tail{k}"][0] != "identity"]
    if tails:
        last = draft.join("shuffle", "shuffle", (last,), space.bands, fine=True)
        for layer in tails:
            found = draft.layer(layer, genotype.choice[layer.name], last)
            last = draft.join("add", f"{layer.name}.sum", (last, found), space.bands, fine=True)
        draft.join("unshuffle", "unshuffle", (last,), space.bands * space.scale**2)
    return Blueprint(nodes=tuple(draft.nodes), bands=space.bands, scale=space.scale, normalisation=normalisation)


def _basic(genotype: Genotype, layers: dict[str, Layer], draft: Draft) -> str:
    space, choice = genotype.space, genotype.choice
    source = INPUT
    for k in range(space.head):
        source = draft.layer(layers[f"head{k}"], choice[f"head{k}"], source, relu=True)
    if not space.cells:
        return source
    start = source
    for cell in range(space.cells):
        prefix, inner = f"cell{cell}.", source
        for k in range(space.body):
            last = k == space.body - 1
            inner = draft.layer(layers[f"body{k}"], choice[f"body{k}"], inner, prefix, relu=not last, gain=source if last else "")
        if choice["skip"][0] != "none":
            beside = draft.layer(layers["skip"], choice["skip"], source, prefix, gain=source)
            inner = draft.join("add", f"{prefix}branch", (inner, beside), space.channels)
        source = draft.join("add", f"{prefix}sum", (source, inner), space.channels)
    return draft.join("add", "body.sum", (start, source), space.channels)


def _rfdn(genotype: Genotype, layers: dict[str, Layer], draft: Draft) -> str:
    space, choice, c = genotype.space, genotype.choice, genotype.space.channels
    source = start = draft.layer(layers["first"], ("3x3", 8), INPUT, relu=True)
    found = []
    for cell in range(space.cells):
        parts, inner, p = [], source, f"cell{cell}"
        for k in range(3):
            parts.append(draft.layer(layers[f"{p}.distil{k}"], choice[f"{p}.distil{k}"], inner, relu=True))
            body = draft.layer(layers[f"{p}.body{k}"], choice[f"{p}.body{k}"], inner)
            inner = draft.join("add", f"{p}.sum{k}", (inner, body), c, relu=True)
        parts.append(draft.layer(layers[f"{p}.last"], choice[f"{p}.last"], inner, relu=True))
        together = draft.join("concat", f"{p}.concat", tuple(parts), 4 * (c // 2))
        fused = draft.layer(layers[f"{p}.fuse"], ("1x1", 8), together, gain=source)
        source = draft.join("add", f"{p}.sum", (source, fused), c)
        found.append(source)
    together = draft.join("concat", "concat", tuple(found), space.cells * c) if len(found) > 1 else found[0]
    collected = draft.layer(layers["collect"], ("1x1", 8), together, relu=True)
    smoothed = draft.layer(layers["smooth"], ("3x3", 8), collected)
    return draft.join("add", "body.sum", (start, smoothed), c)
