from __future__ import annotations

from tests.engine.fakes import FakeEndpoint, FakeLoop
from vaurien.engine.relay.write_buffer import WriteBuffer


def test_it_sends_in_order_as_the_destination_takes_it() -> None:
    loop, destination, facts = FakeLoop(), FakeEndpoint(room=3), []
    buffer = WriteBuffer(loop, lambda: facts.append("emptied"), lambda _: facts.append("failed"), b"one")  # type: ignore[arg-type]
    buffer.add(b"two")
    assert (buffer.size, loop.writers) == (6, {})
    buffer.watch(destination)  # type: ignore[arg-type]
    loop.writers[destination.fileno()]()
    assert (destination.sent, buffer.size, facts) == (b"one", 3, [])
    loop.writers[destination.fileno()]()  # it takes nothing now
    destination.room = 10
    loop.writers[destination.fileno()]()
    assert (destination.sent, buffer.size, facts) == (b"onetwo", 0, ["emptied"])
    buffer.unwatch()
    assert loop.writers == {}


def test_a_destination_that_fails_is_reported() -> None:
    loop, destination, facts = FakeLoop(), FakeEndpoint(), []
    buffer = WriteBuffer(loop, lambda: facts.append("emptied"), lambda _: facts.append("failed"), b"x")  # type: ignore[arg-type]
    destination.failure = ConnectionResetError()
    buffer.watch(destination)  # type: ignore[arg-type]
    loop.writers[destination.fileno()]()
    assert facts == ["failed"]


def test_it_is_not_empty_while_the_endpoint_holds_something() -> None:
    loop, destination, facts = FakeLoop(), FakeEndpoint(), []
    destination.unsent = 5
    buffer = WriteBuffer(loop, lambda: facts.append("emptied"), lambda _: facts.append("failed"), b"x")  # type: ignore[arg-type]
    buffer.watch(destination)  # type: ignore[arg-type]
    loop.writers[destination.fileno()]()
    assert (destination.sent, facts) == (b"x", [])
    destination.unsent = 0
    loop.writers[destination.fileno()]()
    assert facts == ["emptied"]
