"""What the fuzz targets have in common: the seeds of a fuzzer, and its bytes as a conversation."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import atheris

from vaurien.framing import Protocol
from vaurien.testing import check_framing

TURN = b"\n\xff\n"
"""What separates the segments of an input: the first goes to the backend, the second comes from it, and so on."""


def run(one_input: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Run libFuzzer with the command line's arguments, from *seeds*; with files as arguments, these inputs alone."""
    if any(Path(argument).is_file() for argument in sys.argv[1:]):
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()


def fuzz(protocol: Protocol, seeds: Iterable[Sequence[bytes]]) -> None:
    """Check the laws of framing. *seeds* are dialogues: request, response, request…"""

    def one_input(data: bytes) -> None:
        check_framing(protocol, [(not number % 2, part) for number, part in enumerate(data.split(TURN))], (1, 5))

    run(one_input, map(TURN.join, seeds))
