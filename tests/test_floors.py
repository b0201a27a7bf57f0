"""The house keeps its floors: every import points down, and no module needs itself to be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import imaging

FLOORS = {
    "__main__": 7, "cli": 6, "archive": 5, "report": 5, "restoration": 4,
    "amortised": 3, "posterior": 3, "fusion": 3, "bilevel": 3, "superres": 3, "priors": 2,
    "sensors": 2, "raster": 1,
    "filters": 1, "draws": 1, "moments": 1, "training": 1, "metrics": 1, "releases": 1, "parallel": 0, "names": 0, "errors": 0,
    "version": 0, "former": 0, "lazy": 0,
}  # fmt: skip
FACE = "imaging"  # for those outside; no room asks it for anything


def sources(root: Path) -> dict[str, str]:
    """Text of each module below a package's folder, by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """Nodes under ``if TYPE_CHECKING``."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def lazy(tree: ast.Module) -> set[ast.AST]:
    """Nodes inside functions, which run after the import."""
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
    return {inner for function in functions for inner in ast.walk(function) if inner is not function}


def imports(tree: ast.Module, modules: set[str]) -> Iterator[tuple[ast.AST, str, str]]:
    """Each import of the package's own: the statement, the module it names, and the name taken from it if that is no module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == FACE:
                    yield node, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import: {ast.unparse(node)}"
            if node.module and node.module.split(".")[0] == FACE:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield node, inner if inner in modules else node.module, "" if inner in modules else alias.name


def room(module: str) -> str:
    """Room of a module, empty for the public face."""
    return module.split(".")[1] if "." in module else ""


def broken_floors(modules: dict[str, str]) -> list[str]:
    """Imports that point up or sideways, in words."""
    complaints = []
    for name, text in modules.items():
        if name == FACE:
            continue
        tree = ast.parse(text)
        if room(name) not in FLOORS:
            complaints.append(f"{name} is in no known room")
            continue
        for _, target, taken in imports(tree, set(modules)):
            here, there = room(name), room(target)
            if target == FACE:
                if taken:
                    complaints.append(f"{name} takes {taken} from the public face")
            elif here != there and FLOORS.get(there, 99) >= FLOORS[here]:
                complaints.append(f"{name} imports {target}")
        used = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        complaints += [f"{name} uses {u}" for u in sorted(used) if u.startswith(f"{FACE}.")]
    return complaints


def import_graph(modules: dict[str, str]) -> dict[str, set[str]]:
    """Modules that each module's import runs: those it names, and the packages around them that are not around itself."""
    graph: dict[str, set[str]] = {}
    for name, text in modules.items():
        tree = ast.parse(text)
        later = lazy(tree) | type_checking_only(tree)
        graph[name] = set()
        for node, target, _ in imports(tree, set(modules)):
            if node not in later:
                parents = {".".join(target.split(".")[: k + 1]) for k in range(target.count("."))}
                around = {".".join(name.split(".")[: k + 1]) for k in range(name.count(".") + 1)}
                graph[name] |= {target} | (parents - around)
    return graph


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of one import cycle, empty when there is none."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in finished:
            for target in sorted(graph.get(name, set())):
                if found := visit(target, [*path, name]):
                    return found
            finished.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


HOUSE = sources(Path(imaging.__file__).parent)


def test_every_import_points_down() -> None:
    assert {"imaging.cli.restore", "imaging.posterior.vble", "imaging.errors"} <= set(HOUSE)
    assert broken_floors(HOUSE) == []


def test_no_import_cycle() -> None:
    graph = import_graph(HOUSE)
    assert "imaging.errors" in graph["imaging.sensors.reader"]
    assert cycle(graph) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("imaging.sensors.new", "from imaging.posterior import VBLE", "imaging.sensors.new imports imaging.posterior"),
        ("imaging.sensors.new", "from imaging import priors", "imaging.sensors.new imports imaging.priors"),
        ("imaging.priors.new", "def f():\n    import imaging.sensors.mtf", "imaging.priors.new imports imaging.sensors.mtf"),
        ("imaging.metrics", "from imaging.raster import Scene", "imaging.metrics imports imaging.raster"),
        ("imaging.errors", "from imaging.metrics import psnr", "imaging.errors imports imaging.metrics"),
        ("imaging.raster.new", "if True:\n    from imaging.cli.restore import main", "imaging.raster.new imports imaging.cli.restore"),
        ("imaging.raster.new", "from imaging import load_prior", "imaging.raster.new takes load_prior from the public face"),
        ("imaging.raster.new", "import imaging\nx = imaging.load_prior()", "imaging.raster.new uses imaging.load_prior"),
        ("imaging.raster.new", "from imaging import __version__", "imaging.raster.new takes __version__ from the public face"),
        ("imaging.attic.new", "import math", "imaging.attic.new is in no known room"),
    ],
)
def test_checker_sees_an_import_that_points_up_or_sideways(name: str, text: str, said: str) -> None:
    assert broken_floors(HOUSE | {name: text}) == [said]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("imaging.priors.new", "from imaging.errors import InputError\nfrom imaging.raster import Scene"),
        ("imaging.raster.new", "from imaging.version import __version__"),
        ("imaging.posterior.new", "from imaging.posterior.vble import VBLE\nimport numpy\nfrom imaging_of_others import x"),
        ("imaging.cli.new", "from imaging.restoration import restore"),
    ],
)
def test_checker_lets_good_imports_pass(name: str, text: str) -> None:
    assert broken_floors(HOUSE | {name: text}) == []


def test_checker_sees_a_cycle_unless_it_is_lazy() -> None:
    bad = {"imaging": "", "imaging.priors": "", "imaging.priors.a": "from imaging.priors import b", "imaging.priors.b": ""}
    assert cycle(import_graph(bad)) == []
    back = "from imaging.priors.a import f"
    assert cycle(import_graph(bad | {"imaging.priors.b": back})) == ["imaging.priors.a", "imaging.priors.b", "imaging.priors.a"]
    assert cycle(import_graph(bad | {"imaging.priors.b": f"def g():\n    {back}"})) == []
    assert cycle(import_graph(bad | {"imaging.priors.b": f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {back}"})) == []
    # Through a package: importing its module runs its __init__ first.
    through = {"imaging.sensors": "from imaging.priors.a import f", "imaging.sensors.x": "", "imaging.priors.b": "import imaging.sensors.x"}
    assert cycle(import_graph(bad | through)) == ["imaging.priors.a", "imaging.priors.b", "imaging.sensors", "imaging.priors.a"]
