"""Which messages are left out."""

from __future__ import annotations

import pytest

from tests.behaviors.test_ws_reorder import KEEP, message, upgraded
from tests.running import backend, pair, read, running
from vaurien.model import Fault, Scope, Window

WINDOWS = [
    (Window(count=1), "bcdef"),
    (Window(count=2), "cdef"),
    (Window(skip=1, count=2), "adef"),
    (Window(every=2), "bdf"),
]


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("window", "left"), WINDOWS)
def test_a_window_counts_each_message_once(window: Window, left: str, apart: bool, upstream: bool) -> None:
    match = {"direction": "upstream" if upstream else "downstream", "text": "regex:."}
    fault = Fault("it", "ws_drop", match=match, window=window, scope=Scope.EXCHANGE)
    with (
        backend() as listening,
        running(listening.getsockname(), "", fault, protocol="http", protocol_options=KEEP) as proxy,
        pair(proxy, listening) as (client, server),
    ):
        upgraded(client, server)
        sender, receiver = (client, server) if upstream else (server, client)
        messages = [message(text, masked=upstream) for text in "abcdef"]
        wanted = b"".join(message(text, masked=upstream) for text in left)
        if not apart:
            sender.sendall(b"".join(messages))
            assert read(receiver, len(wanted)) == wanted
            return
        for text, one in zip("abcdef", messages, strict=True):
            sender.sendall(one)
            if text in left:
                assert read(receiver, len(one)) == one
