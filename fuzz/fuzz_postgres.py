"""Fuzz the framer of PostgreSQL."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.postgres import Postgres

from framer import fuzz


def messages(kinds: str, **bodies: bytes) -> bytes:
    parts = ((kind, bodies.get(kind, b"I" if kind == "Z" else b"")) for kind in kinds)
    return b"".join(kind.encode() + (4 + len(body)).to_bytes(4, "big") + body for kind, body in parts)


def opening(code: int) -> bytes:
    return (8).to_bytes(4, "big") + code.to_bytes(4, "big")


BEGUN = [opening(80877103), b"N", opening(196608), messages("RR"), messages("p"), messages("RSKZ")]

fuzz(
    Postgres(),
    [
        [*BEGUN, messages("Q", Q=b"SELECT\0"), messages("TDDCZA")],
        [
            *BEGUN,
            messages("PDH", P=b"s\0SELECT\0", D=b"Ss\0"),
            messages("1tn"),
            messages("BES", B=b"\0s\0"),
            messages("2CZ"),
        ],
        [*BEGUN, messages("BES"), messages("2G"), messages("dcS"), messages("CZ")],
        [*BEGUN, messages("PDHBEHS"), messages("EZ"), messages("FX"), messages("VZ")],
        [
            *BEGUN,
            messages("PBEQHFS"),
            messages("1EZ"),
            messages("PHBEHBES"),
            messages("1E"),
            messages("QS"),
            messages("ZZ"),
        ],
        [*BEGUN, messages("BESdcSQ"), messages("2GCZZ"), messages("CCPS"), messages("331Z")],
        [*BEGUN, messages("Q"), messages("W"), messages("d")],
        [opening(80877104), b"G", b"anything"],
    ],
)
