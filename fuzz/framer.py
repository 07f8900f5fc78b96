"""What the fuzz targets have in common: bytes from a fuzzer become a conversation, checked by the laws of framing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import atheris

from vaurien.framing import Protocol
from vaurien.testing import check_framing

TURN = b"\n\xff\n"
"""What separates the segments of an input: the first goes to the backend, the second comes from it, and so on."""


def fuzz(protocol: Protocol, seeds: Iterable[Sequence[bytes]]) -> None:
    """Run libFuzzer with the command line's arguments. *seeds* are dialogues: request, response, request…"""

    def one_input(data: bytes) -> None:
        check_framing(protocol, [(not number % 2, part) for number, part in enumerate(data.split(TURN))], (1, 5))

    with tempfile.TemporaryDirectory() as corpus:
        for number, dialogue in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(TURN.join(dialogue))
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()
