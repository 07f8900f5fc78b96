"""Numbers as Go writes them."""

from __future__ import annotations

import math
from decimal import Decimal


def go_number(value: float, *, exponent_from: int = 6) -> str:
    """*value* with as few digits as tell it from others: ``5``, ``0.25``, ``1.048576e+06``.

    Powers of ten from *exponent_from* on, and below -4, are written with an exponent: 6 is for ``strconv.FormatFloat``
    in format ``g``, 21 for ``fmt.Print``.
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    power = len(digits) + int(exponent) - 1
    minus = "-" if sign else ""
    if value and not -4 <= power < exponent_from:
        fraction = "".join(map(str, digits[1:]))
        return f"{minus}{digits[0]}{'.' if fraction else ''}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return minus + format(abs(Decimal(repr(float(value)))).normalize(), "f")
