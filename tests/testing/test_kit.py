"""The kit for tests of behaviors."""

from __future__ import annotations

import math
import random
from typing import Annotated, Any

import pytest

from tests import plugins
from vaurien.framing import Reply
from vaurien.hooks import Behavior, Connection, Exchange, Link
from vaurien.model import Address
from vaurien.options import Count, Option
from vaurien.testing import (
    Change,
    Chunk,
    End,
    FakeConnection,
    FakeExchange,
    Remove,
    Sent,
    VirtualClock,
    check_behavior,
    check_declaration,
    play,
)

HOUR = 3600.0


def test_time_passes_only_when_it_is_let() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock.now())))
    clock.advance(1.5)
    assert (seen, clock.now()) == ([("a", 1.0)], 1.5)
    clock.advance()
    assert seen[1:] == [("b", 2.0), ("c", 2.0)]
    assert repr(clock) == "<VirtualClock at 2, 0 things to come>"


def test_run_takes_time_as_far_as_a_hook_waits() -> None:
    exchange = FakeExchange()

    async def hook() -> None:
        await exchange.sleep(HOUR)

    exchange.connection.clock.run(hook())
    assert (exchange.now(), exchange.connection.hits) == (HOUR, 1)


def test_run_raises_what_the_hook_raises() -> None:
    with pytest.raises(RuntimeError, match="broken on_request"):
        VirtualClock().run(plugins.Broken().on_request(FakeExchange()))


def test_run_does_not_wait_for_what_never_comes() -> None:
    exchange = FakeExchange()
    with pytest.raises(AssertionError, match="nothing will wake it"):
        exchange.connection.clock.run(exchange.client_gone())


def test_a_hook_that_waits_for_something_else_is_told() -> None:
    class Other:
        def __await__(self) -> Any:
            yield "a future"

    async def hook() -> None:
        await Other()

    with pytest.raises(TypeError, match="waits only by what it is given"):
        VirtualClock().run(hook())


def test_an_exchange_remembers_what_was_asked_for() -> None:
    exchange = FakeExchange()
    exchange.reply(Reply(b"no"))
    exchange.change(b"head")
    exchange.inject(b"more")
    exchange.drop()
    assert (exchange.replied, exchange.changed, exchange.injected, exchange.dropped) == (
        Reply(b"no"),
        b"head",
        b"more",
        True,
    )
    assert exchange.connection.hits == 1


def test_a_client_that_leaves_lets_the_hook_go_on() -> None:
    exchange = FakeExchange()
    run = exchange.connection.clock.start(exchange.client_gone())
    assert not run.done
    exchange.leave()
    assert run.done


def test_connections_of_one_proxy_share() -> None:
    shared: dict[type, Any] = {}
    one, two = (FakeConnection(shared=shared, number=number) for number in (1, 2))
    behavior = plugins.Noop()
    one.shared(behavior, list).append(1)
    assert two.shared(behavior, list) == [1]
    assert one.state(behavior, list) is one.state(behavior, list) is not two.state(behavior, list)


def test_a_redirect_is_remembered() -> None:
    connection = FakeConnection()
    connection.redirect(Address("127.0.0.1", 1))
    assert connection.redirected == Address("127.0.0.1", 1)


def test_play_shows_what_left_when_and_how_it_ended() -> None:
    played = play(plugins.Late(after=0.5), [Chunk(b"a"), Chunk(b"b", at=0.1), Chunk(b"c", to_backend=False), End(0.2)])
    assert played.up == (Sent(0.5, b"a"), Sent(0.6, b"b"))
    assert played.down == (Sent(0.5, b"c"),)
    assert (played.up_end, played.down_end) == (0.6, None)
    assert (played.end, played.ended_at, played.hits) == (None, None, 3)


def test_play_removes_and_changes() -> None:
    slow = plugins.Slow(wait=HOUR)
    removed = play(slow, [Chunk(b"1234"), Chunk(b"5678", at=1), Remove(at=2)])
    assert removed.up == (Sent(0, b"12"), Sent(2, b"34"), Sent(2, b"5678"))
    changed = play(slow, [Chunk(b"12345678"), Change(plugins.Slow(wait=5), at=2)])
    assert changed.up == (Sent(0, b"1234"), Sent(2, b"56"), Sent(7, b"78"))


def test_play_releases_a_delay_line_when_the_fault_is_removed() -> None:
    played = play(plugins.Late(after=HOUR), [Chunk(b"a"), Chunk(b"b", at=1), End(at=2), Remove(at=3)])
    assert played.up == (Sent(3, b"a"), Sent(3, b"b"))
    assert played.up_end == 3


def test_a_reset_loses_what_is_on_the_delay_line_and_a_close_does_not() -> None:
    class Cuts(Behavior, frozen=True):
        """Sends late, then ends."""

        reset: Annotated[bool, Option("How")] = False

        async def on_data(self, link: Link, data: bytes) -> None:
            await link.send(data, after=1)
            await link.sleep(0.5)
            link.reset("client") if self.reset else link.close()

    assert play(Cuts(), [Chunk(b"a")]).up == (Sent(1, b"a"),)
    assert play(Cuts(), [Chunk(b"a")]).end == "close"
    reset = play(Cuts(reset=True), [Chunk(b"a")])
    assert (reset.up, reset.end, reset.ended_at) == ((), "reset client", 0.5)


def test_play_raises_what_a_hook_raises() -> None:
    for hook in ("on_connect", "on_start", "on_data", "on_eof"):
        with pytest.raises(RuntimeError, match=f"broken {hook}"):
            play(plugins.Broken(hook=hook), [Chunk(b"a"), End()])


def test_bytes_wait_until_the_hook_before_the_dial_is_done() -> None:
    class Dials(Behavior, frozen=True):
        """Takes its time."""

        async def on_connect(self, connection: Connection) -> None:
            await connection.sleep(2)

    assert play(Dials(), [Chunk(b"a")]).up == (Sent(2, b"a"),)
    assert play(Dials(), [Chunk(b"a"), Remove(at=1)]).up == (Sent(1, b"a"),)


class Undocumented(Behavior, frozen=True):
    size: Count = 1


class Misspelt(Behavior, frozen=True):
    """Acts in a hook that is none."""

    async def on_chunk(self, link: Link, data: bytes) -> None: ...


class Blocks(Behavior, frozen=True):
    """A hook that is no coroutine."""

    def on_data(self, link: Link, data: bytes) -> None: ...  # type: ignore[override]


class Swallows(Behavior, frozen=True):
    """Loses bytes."""

    async def on_data(self, link: Link, data: bytes) -> None: ...


class Remembers(Behavior, frozen=True):
    """State in the class, which all connections share."""

    seen = []

    async def on_data(self, link: Link, data: bytes) -> None:
        self.seen.append(data)
        await link.send(data, after=len(self.seen))


class Forgets(Behavior, frozen=True):
    """State that hangs on the instance, which an update replaces."""

    async def on_data(self, link: Link, data: bytes) -> None:
        known = link.state(self, dict)
        known[id(self)] = known.get(id(self), 0) + 1
        if known[id(self)] == 10:
            link.close()
        await link.send(data)


class Stubborn(Behavior, frozen=True):
    """Waits for ever, whether the client is there or not."""

    async def on_request(self, exchange: Exchange) -> None:
        await exchange.sleep(math.inf)


class Keeps(Behavior, frozen=True):
    """Holds bytes back, and forgets them when it is removed."""

    async def on_data(self, link: Link, data: bytes) -> None:
        held = link.state(self, bytearray)
        held += data
        if len(held) > 100:
            data = bytes(held)
            held.clear()
            await link.send(data)


class Hurries(Behavior, frozen=True):
    """Sends what comes second first."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data[1:])
        await link.send(data[:1])


class Gambles(Behavior, frozen=True):
    """Throws dice of its own."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send(data, after=random.random())


class Deaf(Behavior, frozen=True):
    """Waits for ever with the answer, whether the client is there or not."""

    async def on_response(self, exchange: Exchange) -> None:
        await exchange.sleep(math.inf)


class Raises(Behavior, frozen=True):
    """Fails at the first request."""

    async def on_request(self, exchange: Exchange) -> None:
        raise AssertionError("no field 'path'")


class Mistyped(Behavior, frozen=True):
    """A default of another type."""

    size: Annotated[Count, Option("How many")] = "1"  # type: ignore[assignment]


class Pattern(Behavior, frozen=True):
    """An option that no command line can give."""

    table: Annotated[dict[str, str], Option("What becomes what")] = {}


class Upper(Behavior, frozen=True):
    """An option in capitals."""

    Size: Annotated[Count, Option("How many")] = 1


@pytest.mark.parametrize(
    ("behavior", "complaint"),
    [
        (Keeps, "was removed, and the backend got"),
        (Hurries, "was removed, and the backend got"),
        (Gambles, "same twice"),
        (Deaf, "on_response still waits"),
        (Raises, "no field 'path'"),
        (Mistyped, "option size does not survive Python: '1' becomes 1"),
        (Pattern, "option table does not survive text"),
        (Upper, "option Size is not in lower case"),
        (Undocumented, "no docstring"),
        (Misspelt, "on_chunk"),
        (Blocks, "not `async def`"),
        (Swallows, "was removed, and the backend got"),
        (Remembers, "same twice"),
        (Forgets, r"does not go on where it was .* belongs into `link.state`"),
        (Stubborn, "still waits"),
    ],
)
def test_the_check_finds_what_is_wrong(behavior: type[Behavior], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_behavior(behavior)


def test_an_option_needs_help_and_a_default() -> None:
    class NoHelp(Behavior, frozen=True):
        """Documented."""

        size: Count = 1

    class NoDefault(Behavior, frozen=True):
        """Documented."""

        size: Annotated[Count, Option("Bytes")]

    with pytest.raises(AssertionError, match="option size has no help"):
        check_declaration(NoHelp)
    with pytest.raises(AssertionError, match="option size has no default"):
        check_declaration(NoDefault)


def test_the_check_passes_what_is_right() -> None:
    check_behavior(plugins.Noop)
    check_behavior(plugins.Late, {"after": "50ms"})
    check_behavior(plugins.Slow, {"wait": 0.001})
    check_behavior(plugins.Keeps)
    check_behavior(Swallows, loses=True)
