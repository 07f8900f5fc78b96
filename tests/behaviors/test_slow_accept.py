"""Dialled late."""

from __future__ import annotations

import pytest

from tests.running import PATIENCE, backend, read, running
from vaurien.behaviors.slow_accept import SlowAccept
from vaurien.model import Fault
from vaurien.testing import Change, Chunk, Remove, Sent, play


def test_the_first_byte_moves_after_the_delay() -> None:
    played = play(SlowAccept(delay=500), [Chunk(b"a"), Chunk(b"b", at=0.25), Chunk(b"c", at=1)])
    assert played.up == (Sent(0.5, b"ab"), Sent(1, b"c"))
    assert played.hits == 1


@pytest.mark.parametrize("step", [Remove(at=0.25), Change(SlowAccept(delay=5000), at=0.25)])
def test_cured_it_dials(step: Remove | Change) -> None:
    assert play(SlowAccept(delay=500), [Chunk(b"a"), step]).up == (Sent(0.25, b"a"),)


def test_the_backend_is_not_dialled_before() -> None:
    fault = Fault(name="it", behavior="slow_accept", options={"delay": "1h"})
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy, proxy.connect() as client:
        client.sendall(b"hello")
        listening.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listening.accept()
        listening.settimeout(PATIENCE)
        proxy.set_policy("")
        server, _ = listening.accept()
        with server:
            server.settimeout(PATIENCE)
            assert read(server, 5) == b"hello"
