"""Imports point down the list of layers only, and no two modules import each other, however indirectly."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
# From the top: a module imports from its own layer and from those below it. docs/extending.md explains them.
LAYERS = ["__main__", "cli", "commands", "reports", "jobs", "training", "inference", "ensemble", "models", "decoding",
          "runs", "metrics", "data", "boxes", "demo", "config", "schema", "system"]  # fmt: skip


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in SOURCE.rglob("*.py")}


def imports_of(module: str) -> set[str]:
    """Modules of the package that a module imports, wherever in it: at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name for name in names if name in MODULES and name != "pneumonia"}
    # `from package import module` needs the module; the package's own __init__ is empty
    return {name for name in found if MODULES[name].name != "__init__.py"} - {module}


GRAPH = {module: imports_of(module) for module in MODULES}


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"pneumonia"}))
def test_imports_point_down(module):
    upward = {other for other in GRAPH[module] if layer_of(other) < layer_of(module)}
    assert not upward


def test_no_cycle():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


def test_the_check_sees_imports():
    assert "pneumonia.boxes.fusion" in GRAPH["pneumonia.ensemble.recipe"]
    assert "pneumonia.inference.network" in GRAPH["pneumonia.inference.predictor"]  # inside a function
