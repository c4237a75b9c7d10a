"""A small seeded part of the sweep; `python -m tests.sweep` runs a million cases."""

import pytest

from tests.sweep import sweep


@pytest.mark.parametrize("seed", range(4))
def test_compiled_equals_reference(seed):
    seen, wrong = sweep(3000, seed)
    assert wrong == []
    assert seen["cases"] >= 3000
    assert seen["in doubt"] > 0
    assert seen["floats decide otherwise"] > 0
