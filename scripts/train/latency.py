"""Measure the latency of each operation of a recipe's search space on this machine, as a table that scripts.train.search takes.

    python -m scripts.train.latency models/quantnas-x4-large/recipe.toml --output latency.json

Each operation runs in 8-bit integers (the first layer in float), on one thread of ONNX Runtime's CPU provider; times are those of its
kernels, the least of several runs, in nanoseconds for one pixel.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path

import onnxruntime
import torch

from imaging.superres.blueprint import INPUT, Blueprint, Draft, Node
from imaging.superres.cost import LatencyTable
from imaging.superres.export import to_onnx
from imaging.superres.networks import Network
from imaging.superres.operations import Operation
from imaging.superres.recipes import Recipe
from scripts.command import command, machine


def plan_of(cin: int, cout: int, name: str, *, first: bool) -> Blueprint:
    """A network around one operation."""
    draft, operation = Draft(), Operation.parse(name)
    source = INPUT if first else draft.conv("before", INPUT, 3, cin, 1, relu=True)
    for k, (i, o, kernel) in enumerate(operation.convolutions(cin, cout)):
        source = draft.add(Node(name=f"measured{k}", inputs=(source,), cin=i, cout=o, kernel=kernel, groups=operation.groups))
    draft.conv("after", source, cout, (cin if first else 3) * 4, 1)
    return Blueprint(nodes=tuple(draft.nodes), bands=cin if first else 3, scale=2)


def kernel_time(plan: Blueprint, side: int, runs: int) -> float:
    """Least time (ns) that the kernels of the measured operation take for one pixel."""
    x = torch.rand(1, plan.bands, side, side, generator=torch.Generator().manual_seed(0))
    network = Network(plan).quantise([x])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            to_onnx(network, quantised=True).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(runs):
            session.run(None, {"input": x.numpy()})
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["name"].startswith("measured") and event["name"].endswith("_kernel_time") and "onv" in event["args"]["op_name"]:
            found[event["name"]].append(event["dur"])
    return sum(min(times) for times in found.values()) * 1e3 / side**2


def main() -> None:
    """Measure, write."""
    parser = command(__doc__)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    times: dict[str, float] = {}
    for path in arguments.recipes:
        space = Recipe.parse(path.read_text(encoding="utf-8")).space
        for layer in [*space.layers(), *space.fixed()]:
            for name in layer.operations:
                key = LatencyTable.key(layer.cin, layer.cout, name)
                if key not in times and Operation.parse(name).kernels:
                    plan = plan_of(layer.cin, layer.cout, name, first=layer.name in {"head0", "first"})
                    times[key] = round(kernel_time(plan, arguments.side, arguments.runs), 3)
                    print(f"{key:>16}: {times[key]:8.2f} ns", flush=True)
    LatencyTable(times, f"{machine()}, one thread").save(arguments.output)


if __name__ == "__main__":
    main()
