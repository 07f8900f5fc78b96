"""Packages of others are bounded on both sides: a release that nobody has tried does not reach a user."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
REQUIREMENTS = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra),
    *(one for group in PROJECT["dependency-groups"].values() for one in group if isinstance(one, str)),
]


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_a_requirement_has_a_lower_and_an_upper_bound(text):
    operators = {part.operator for part in Requirement(text).specifier}
    assert operators & {">=", "=="}
    assert operators & {"<", "<=", "=="}
