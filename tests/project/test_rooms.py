"""The rooms of the library: each has a door, and whoever needs it comes in by that."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent.name for path in (ROOT / "resprune").glob("*/__init__.py"))
USERS = [
    path for part in ("resprune", "app", "training", "benchmarks", "checks") for path in (ROOT / part).rglob("*.py")
]


def imports(path: Path) -> list[str]:
    """The modules of the library that a file imports names from."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return [module for module in found if module.startswith("resprune.")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_what_others_may_use(room: str) -> None:
    tree = ast.parse((ROOT / "resprune" / room / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree).splitlines()[0].endswith(".")
    assert [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]


def test_nobody_reaches_past_a_door() -> None:
    assert USERS and ROOMS
    inside = {
        (str(path.relative_to(ROOT)), module)
        for path in USERS
        for module in imports(path)
        if (room := module.split(".")[1]) in ROOMS
        and module.count(".") > 1
        and not path.is_relative_to(ROOT / "resprune" / room)
    }
    assert inside == set()
