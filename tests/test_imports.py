"""The rooms import downwards only: the table below is the architecture, and imports for types count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "riskpolicy"
GROUND = {"_rational", "arrow", "errors", "numbers", "vocabulary"}
CORE = GROUND | {"plan", "kernel", "snapshot", "engines.core"}
MECHANISMS = {
    f"engines.{name}"
    for name in (
        "margin", "liquidation", "waterfall", "deleveraging", "execution", "funding", "allocation", "fees", "funds",
        "staking",
    )
}  # fmt: skip
FACE = GROUND | {
    "hooks",
    "ruleset",
    "compiler",
    "plan",
    "snapshot",
    "engines.core",
    "engines.evaluate",
    "engines.explain",
    "engines.check",
    "engines.execution",
    "engines.fees",
    "engines.funding",
    "engines.funds",
    "engines.resolve",
    "engines.heal",
    "engines.adl_metrics",
    "engines.candidates",
    "engines.comparison",
    "engines.policies",
    "engines.exposure",
    "engines.exposure_public",
}

#: What each room may import of ours, itself aside.
MAY_IMPORT = {
    **{room: set() for room in GROUND},
    "numbers": {"_rational"},
    "ruleset": GROUND,
    "expressions": GROUND,
    "kernel": GROUND,
    # Its changed columns take the memory of arrays that are gone.
    "snapshot": GROUND | {"kernel"},
    "plan": GROUND | {"kernel"},
    "compiler": GROUND | {"ruleset", "expressions", "plan", "kernel"},
    "engines.core": GROUND | {"plan", "kernel", "snapshot"},
    **dict.fromkeys(MECHANISMS, CORE),
    "engines.policies": CORE | {"engines.allocation"},
    "engines.adl_metrics": CORE,
    "engines.candidates": CORE | MECHANISMS | {"engines.evaluate"},
    "engines.comparison": CORE | {"engines.adl_metrics", "engines.candidates", "engines.evaluate", "engines.policies"},
    # An evaluation offers its resolution and other rankings, which it imports when asked.
    "engines.evaluate": CORE | MECHANISMS | {"engines.resolve", "engines.exposure", "engines.ranked"},
    "engines.ranked": CORE | MECHANISMS | {"engines.evaluate", "engines.candidates", "engines.policies"},
    "engines.partitions": CORE | MECHANISMS | {"engines.evaluate", "engines.candidates", "engines.policies"},
    "engines.exposure_place": CORE | {"engines.evaluate", "engines.candidates", "engines.policies"},
    "engines.exposure_changes": CORE | {"engines.evaluate", "engines.exposure_place"},
    "engines.exposure_search": CORE | MECHANISMS | {"engines.evaluate"},
    "engines.exposure": CORE
    | MECHANISMS
    | {"engines.evaluate", "engines.candidates", "engines.exposure_place", "engines.exposure_search"}
    | {"engines.exposure_changes"},
    "engines.exposure_public": CORE | {"engines.exposure"},
    "engines.resolve": CORE | MECHANISMS | {"engines.evaluate", "engines.resolving"},
    "engines.resolving": CORE | MECHANISMS | {"engines.evaluate", "engines.candidates", "engines.policies"},
    **{f"engines.{name}": CORE | MECHANISMS | {"engines.evaluate"} for name in ("check", "heal")},
    "engines.explain": CORE | MECHANISMS | {"engines.evaluate", "engines.heal"},
    "hooks": GROUND | {"engines.core", "engines.execution"},
    "adapters": GROUND,
    "policy": FACE,
    "": FACE | {"policy", "adapters"},
    "report": FACE | {"policy", "testing", ""},
    "testing": FACE | {"policy", "expressions", "kernel", "engines.margin"},
    "analysis": FACE | {"policy", "expressions"},
    "cli": FACE | {"policy", "report", "testing", "analysis", ""},
}


def room_of(module: str) -> str:
    """`engines.core.bound` is in the room `engines.core`, `engines.margin` is a room of its own."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "engines" else 1])


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("riskpolicy").lstrip(".") for name in names if name.split(".")[0] == "riskpolicy"}


def known_room(name: str) -> str:
    """The room of an imported name: the longest known room that it starts with; a name of the package is ``."""
    room = room_of(name)
    return room if room in MAY_IMPORT else ""


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    room = room_of(module)
    if room == "engines":
        assert imports_of(path) == set()
        return
    allowed = MAY_IMPORT[room] | {room}
    wrong = {name for name in imports_of(path) if known_room(name) not in allowed}
    assert not wrong, f"{room} imports {sorted(wrong)}"


def test_the_check_can_fail():
    assert known_room("policy.load") == "policy"
    assert known_room("engines.core.bound.Bound") not in MAY_IMPORT["kernel"]
    assert known_room("engines.waterfall.plan_draws") not in MAY_IMPORT["engines.margin"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_says_its_purpose_in_its_first_line(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "a module docstring is due"
    assert path.read_text().startswith('"""')
