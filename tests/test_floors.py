"""The house: every room imports from rooms below it alone, and nothing goes round in a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = {"synth": ROOT / "synth", "synth.exporters": ROOT / "exporters", "synth.trainers": ROOT / "trainers"}
FLOORS = (  # from the ground up; docs/architecture.md says what is in them
    ("errors", "brats", "lineage", "randomness", "ahead", "shading", "process"),
    ("case", "cluster"),
    ("disk",),
    ("layout",),
    ("style",),
    ("exporters",),
    ("datasets",),
    ("hosts",),
    ("models",),
    ("show",),
    ("quality",),
    ("runs",),
    ("trainers",),
    ("experiments",),
    ("report",),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {
    "tensorflow",
    "keras",
    "matplotlib",
    "sklearn",
    "webbrowser",
    "SimpleITK",
    "radiomics",
    "dask",
    "distributed",
    "fsspec",
    "scipy.optimize",
}  # slow (or, five of them, not always there)
MOST_LINES, MOST_ENTRIES = 400, 24


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    out = {}
    for name, top in TOPS.items():
        for path in sorted(top.rglob("*.py")):
            parts = [*path.relative_to(top).with_suffix("").parts]
            out[".".join([name, *parts]).removesuffix(".__init__")] = path
    return out


MODULES = modules()


def imports(name: str) -> list[tuple[str, bool, int]]:
    """(dotted name, whether inside a function, line) of every import; those for type checkers alone are left out."""
    out = []

    def visit(node, inside):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(node, ast.Import):
            out.extend((alias.name, inside, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                out.append((full if full in MODULES else node.module, inside, node.lineno))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # no import hides in one, and most of a module are those
                visit(child, inside)

    visit(ast.parse(MODULES[name].read_text()), False)
    return out


GRAPH = {name: imports(name) for name in MODULES}


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def reached(name: str) -> set[str]:
    """All that importing a module imports, outside functions; packages above it too."""
    seen, pending = set(), [name]
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        parents = [module.rpartition(".")[0]] if module in GRAPH and "." in module else []
        pending += [*parents, *(other for other, inside, _ in GRAPH.get(module, ()) if not inside)]
    return seen


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES} <= FLOOR.keys()


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_from_rooms_below_it_alone(name):
    own = FLOOR[room(name)]
    for other, _, line in GRAPH[name]:
        if other.split(".")[0] == "synth" and other != "synth" and room(other) != room(name):
            assert FLOOR[room(other)] < own, f"{name}, line {line}: {room(name)} stands below {room(other)} ({other})"


def test_no_module_is_reached_from_itself():
    edges = {name: {other for other, _, _ in GRAPH[name] if other in MODULES} for name in MODULES}
    done, path = set(), []

    def visit(name):
        if name in path:
            pytest.fail("circle: " + " -> ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        path.append(name)
        for other in sorted(edges[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)


@pytest.mark.parametrize("name", MODULES)
def test_imports_inside_functions_put_off_what_is_slow_alone(name):
    if room(name) in ("cli", "__init__", "__main__"):
        return
    for other, inside, line in GRAPH[name]:
        if inside:
            heavy = {first for module in reached(other) for first in HEAVY if f"{module}.".startswith(f"{first}.")}
            assert heavy, f"{name}, line {line}: {other} is not slow to import; import it at the top"


@pytest.mark.parametrize("name", MODULES)
def test_no_module_is_long(name):
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MOST_LINES, f"{name}: {lines} lines"


def test_the_ground_floor_is_not_crowded():
    entries = [path.name for path in (ROOT / "synth").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
