"""Numbers as Go writes them; the expected texts are those of strconv.FormatFloat(v, 'g', -1, 64) and fmt.Print(v)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.observers.go_number import go_number


@pytest.mark.parametrize(
    ("value", "formatted", "printed"),
    [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (5.0, "5", "5"),
        (100000.0, "100000", "100000"),
        (1000000.0, "1e+06", "1000000"),
        (1048576.0, "1.048576e+06", "1048576"),
        (0.25, "0.25", "0.25"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "1e-05", "1e-05"),
        (-12.5, "-12.5", "-12.5"),
        (1e21, "1e+21", "1e+21"),
        (1.79594201176e09, "1.79594201176e+09", "1795942011.76"),
        (1e100, "1e+100", "1e+100"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_known_numbers(value: float, formatted: str, printed: str) -> None:
    assert go_number(value) == formatted
    assert go_number(value, exponent_from=21) == printed


@given(st.floats(allow_nan=False))
def test_every_number_can_be_read_back(value: float) -> None:
    assert float(go_number(value)) == value
    assert float(go_number(value, exponent_from=21)) == value
