"""Export to one ONNX file: integer convolutions as pairs of quantising and dequantising nodes, float ends, and a manifest beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.errors import InputError, one_line
from imaging.releases import Table, digest_of
from imaging.superres.blueprint import INPUT, Node
from imaging.superres.interpolation import RADIUS
from imaging.superres.networks import Network
from imaging.superres.quantizers import INPUT_LEVELS, LearnedStep
from imaging.superres.units import Unit

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
IR_VERSION = 9
FLOAT_ENDS = ("base", "means", "smoothing/rows", "smoothing/columns")
"""Convolutions that stay in float beside the first one: interpolation and agreement with the input."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a runtime must know of a model, whose ONNX file has the digest ``sha256``.

    With ``bands`` of 1 the model takes a scene band by band. ``margin`` is how many input pixels around one its output pixels depend on,
    ``range`` the radiometric range of input and output, and ``precision`` is ``"int8"`` or ``"float32"``.
    """

    name: str
    bands: int
    factor: int
    margin: int
    precision: str
    sha256: str
    range: tuple[float, float] = (0.0, 1.0)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read from JSON; `InputError` where it is none, or says what no model is."""
        try:
            return Table(dict(json.loads(path.read_text(encoding="utf-8"))), path.name).make(cls, sizes=True)
        except (OSError, ValueError, TypeError, InputError) as error:
            raise InputError(f"{path} is no manifest of a super-resolution model ({one_line(error)})") from error


class _Graph:
    """An ONNX graph in the making."""

    def __init__(self, network: Network, *, quantised: bool) -> None:
        from onnx import helper

        self.helper, self.network, self.quantised = helper, network, quantised
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.values: dict[str, str] = {INPUT: "input"}

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; returns its output."""
        self.nodes.append(self.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Append a constant; returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def conv(self, name: str, source: str, weight: str, bias: str | None, kernel: tuple[int, int], groups: int) -> str:
        """Append a convolution that keeps the size."""
        pads = [side // 2 for side in kernel] * 2
        inputs = [source, weight] + ([bias] if bias else [])
        return self.op("Conv", inputs, name, kernel_shape=list(kernel), pads=pads, group=groups)

    def quantise(self, name: str, source: str, step: LearnedStep) -> str:
        """Append a pair of quantising and dequantising nodes for a tensor, with fewer than 8 bits the limit of its levels between them."""
        scale = self.constant(f"{name}/scale", step.step.detach().cpu().numpy().astype(np.float32)[0])
        zero = self.constant(f"{name}/zero", np.uint8(step.zero.item()))
        levels = self.op("QuantizeLinear", [source, scale, zero], f"{name}/levels")
        if step.bits < 8:
            limits = [self.constant(f"{name}/{end}", np.uint8(value)) for end, value in (("least", step.low), ("most", step.high))]
            levels = self.op("Clip", [levels, *limits], f"{name}/limited")
        return self.op("DequantizeLinear", [levels, scale, zero], f"{name}/values")

    def input_levels(self, source: str) -> str:
        """Append the rounding of the image that makes the first layer's sums exact."""
        levels = [self.constant(f"levels/{k}", np.float32(v)) for k, v in (("many", INPUT_LEVELS), ("step", 1 / INPUT_LEVELS))]
        whole = self.op("Round", [self.op("Mul", [source, levels[0]], "levels/scaled")], "levels/rounded")
        return self.op("Mul", [whole, levels[1]], "levels")

    def parameters(self, node: Node, unit: Unit) -> tuple[str, str]:
        """Constants of a convolution, in integers where it is quantised."""
        weight, bias = unit.taps().detach(), unit.conv.bias
        assert bias is not None
        if unit.of_weight is None or not self.quantised:
            weight, bias = unit.exact_taps() if unit.exact and self.quantised else (weight, bias)
            return self.constant(f"{node.name}/weight", numpy(weight)), self.constant(f"{node.name}/bias", numpy(bias))
        steps = unit.of_weight.step.detach()
        source = unit.of_input or self.network.quantiser_of(node.inputs[0])
        assert source is not None
        names = []
        for part, levels, scale in (
            ("weight", unit.of_weight.levels(weight).to(torch.int8), steps),
            ("bias", unit.whole_bias(source, unit.of_weight).detach().to(torch.int32), steps * source.step.detach()),
        ):
            stored = self.constant(f"{node.name}/{part}", levels.cpu().numpy())
            step = self.constant(f"{node.name}/{part}/scale", numpy(scale))
            zero = self.constant(f"{node.name}/{part}/zero", np.zeros(len(scale), np.int8 if part == "weight" else np.int32))
            names.append(self.op("DequantizeLinear", [stored, step, zero], f"{node.name}/{part}/values", axis=0))
        return names[0], names[1]

    def add(self, node: Node) -> None:
        """Append a node of the blueprint."""
        given, name, plan = [self.values[i] for i in node.inputs], node.name, self.network.plan
        if node.kind == "conv":
            unit, source = self.network.unit(name), given[0]
            if self.quantised and unit.of_input:
                source = self.quantise(f"{name}/input", source, unit.of_input)
            elif self.quantised and unit.exact:
                source = self.input_levels(source)
            found = self.conv(name, source, *self.parameters(node, unit), node.kernel, node.groups)
        elif node.kind == "add":
            found = self.op("Add", given, name)
        elif node.kind == "concat":
            found = self.op("Concat", given, name, axis=1)
        elif node.kind == "gate":
            half = self.constant(f"{name}/half", np.float32(0.5))
            centred = self.op("Sub", [self.op("Sigmoid", [given[1]], f"{name}/sigmoid"), half], f"{name}/centred")
            found = self.op("Mul", [given[0], centred], name)
        elif node.kind == "shuffle":
            found = self.op("DepthToSpace", given, name, blocksize=plan.scale, mode="CRD")
        else:
            found = self.unshuffle(name, given[0])
        if node.relu:
            found = self.op("Relu", [found], f"{name}/relu")
        step = self.network.quantiser_of(name)
        if self.quantised and step is not None:
            found = self.quantise(name, found, step)
        if self.quantised and node is plan.nodes[0] and any(n.kind == "add" and name in n.inputs for n in plan.nodes):
            found = self.passed_on(node, found)
        self.values[name] = found

    def passed_on(self, node: Node, source: str) -> str:
        """Append an integer convolution that changes nothing: ONNX Runtime then keeps all tensors behind it in one layout."""
        weight = self.constant(f"{node.name}/same/weight", np.eye(node.cout, dtype=np.int8)[:, :, None, None])
        ones = self.constant(f"{node.name}/same/scale", np.ones(node.cout, np.float32))
        zeros = self.constant(f"{node.name}/same/zero", np.zeros(node.cout, np.int8))
        values = self.op("DequantizeLinear", [weight, ones, zeros], f"{node.name}/same/weight/values", axis=0)
        found = self.conv(f"{node.name}/same", source, values, None, (1, 1), 1)
        step = self.network.quantiser_of(node.name)
        assert step is not None
        return self.quantise(f"{node.name}/same/output", found, step)

    def unshuffle(self, name: str, source: str) -> str:
        """Append what undoes a pixel shuffle; ONNX's own node orders channels otherwise."""
        bands, s = self.network.plan.bands, self.network.plan.scale
        turned = self.op("SpaceToDepth", [source], f"{name}/blocks", blocksize=s)
        order = np.arange(bands * s * s).reshape(s * s, bands).T.reshape(-1)
        return self.op("Gather", [turned, self.constant(f"{name}/order", order.astype(np.int64))], name, axis=1)

    def finish(self) -> None:
        """Append interpolation, agreement with the input and the pixel shuffle."""
        network, plan = self.network, self.network.plan
        base = self.constant("base/weight", numpy(network.base.weight))
        fine = self.conv("base", "input", base, None, (2 * RADIUS + 1,) * 2, plan.bands)
        fine = self.op("Add", [fine, self.values[plan.nodes[-1].name]], "fine")
        means = self.constant("means/weight", numpy(network.consistency.means))
        smooth = self.op("Sub", ["input", self.conv("means", fine, means, None, (1, 1), plan.bands)], "difference")
        row = network.consistency.smoothing[0, 0].sum(0)
        for name, kernel in (("smoothing/rows", (len(row), 1)), ("smoothing/columns", (1, len(row)))):
            weight = self.constant(f"{name}/weight", numpy(row.view(1, 1, *kernel).repeat(plan.bands, 1, 1, 1)))
            smooth = self.conv(name, smooth, weight, None, kernel, plan.bands)
        pieces = [self.stacked("fine/pieces", fine, plan.scale**2), self.stacked("smoothing/pieces", smooth, 1)]
        self.shuffle(self.op("Add", pieces, "consistent"))

    def shuffle(self, source: str) -> None:
        """Append the pixel shuffle of (batch, bands, scale**2, pixels) as two transpositions, in half the time that DepthToSpace takes."""
        bands, s = self.network.plan.bands, self.network.plan.scale
        shape = self.op("Shape", ["input"], "shape")
        height, width = (self.op("Slice", [shape, self.whole(k), self.whole(k + 1)], f"shape/{k}") for k in (2, 3))
        pixels = self.op("Mul", [height, width], "shape/pixels")
        tall, wide = (self.op("Mul", [n, self.whole(s)], f"{n}/fine") for n in (height, width))

        def viewed(name: str, source: str, sizes: list[str]) -> str:
            return self.op("Reshape", [source, self.op("Concat", sizes, f"{name}/shape", axis=0)], name)

        found = viewed("shuffle/columns", source, [self.whole(-1), self.whole(s), pixels])
        found = self.op("Transpose", [found], "shuffle/columns/turned", perm=[0, 2, 1])
        found = viewed("shuffle/rows", found, [self.whole(-1), self.whole(s), height, wide])
        found = self.op("Transpose", [found], "shuffle/rows/turned", perm=[0, 2, 1, 3])
        viewed("output", found, [self.whole(-1), self.whole(bands), tall, wide])

    def whole(self, value: int) -> str:
        """A whole number as constant."""
        name = f"whole/{value}"
        return name if any(c.name == name for c in self.constants) else self.constant(name, np.array([value], np.int64))

    def stacked(self, name: str, source: str, parts: int) -> str:
        """Append a view of a tensor as (batch, bands, parts, pixels)."""
        shape = self.constant(f"{name}/shape", np.array([0, self.network.plan.bands, parts, -1], np.int64))
        return self.op("Reshape", [source, shape], name)

    def model(self) -> ModelProto:
        """The finished model."""
        from onnx import TensorProto, checker

        bands = self.network.plan.bands
        given = self.helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", bands, "height", "width"])
        made = self.helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", bands, "fine_height", "fine_width"])
        graph = self.helper.make_graph(self.nodes, "super_resolution", [given], [made], self.constants)
        opset = [self.helper.make_opsetid("", OPSET)]
        model = self.helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="imaging")
        checker.check_model(model, full_check=True)
        return model


def numpy(x: Tensor) -> NDArray[np.float32]:
    """Values as a float32 array."""
    return x.detach().cpu().float().numpy()


def to_onnx(network: Network, *, quantised: bool) -> ModelProto:
    """A folded network as ONNX model, from ``input`` to ``output``, any height and width; `InputError` where onnx is not installed.

    Layers of fewer than 8 bits run in kernels of 8: their levels are what fewer bits can hold, so that results are those of hardware with
    fewer bits, while the time is that of 8.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError("exporting needs the package onnx: pip install 'imaging-restore[superres]'") from error
    if quantised and not network.quantised:
        raise ValueError("the network is not quantised")
    if any(u.norm is not None or u.gain is not None for u in map(network.unit, (n.name for n in network.plan.nodes if n.kind == "conv"))):
        raise ValueError("the network is not folded")
    graph = _Graph(network.eval(), quantised=quantised)
    for node in network.plan.nodes:
        graph.add(node)
    graph.finish()
    return graph.model()


def export(network: Network, name: str, path: Path, *, quantised: bool) -> Manifest:
    """Write a network as ONNX file with its manifest beside it, same name but ``.json``; returns the manifest."""
    path.write_bytes(to_onnx(network, quantised=quantised).SerializeToString())
    plan = network.plan
    manifest = Manifest(
        name=name, bands=plan.bands, factor=plan.scale, margin=network.margin, precision="int8" if quantised else "float32",
        sha256=digest_of(path),
    )  # fmt: skip
    manifest.save(path.with_suffix(".json"))
    return manifest
