"""A hook that gives the engine a wrong type is told so at its own line, and the fake tells it the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.running import Echo, running
from vaurien.events import Failed
from vaurien.framing import Reply
from vaurien.hooks import Behavior, Exchange, Link
from vaurien.model import Fault
from vaurien.testing import FakeConnection, FakeExchange, FakeLink

TOO_LONG = "x" * 100


async def _reply_bytes(exchange: Any) -> None:
    exchange.reply(b"OK")


async def _reply_of_text(exchange: Any) -> None:
    exchange.reply(Reply("OK"))  # type: ignore[arg-type]


async def _finish_bytes(exchange: Any) -> None:
    exchange.finish(b"OK")


async def _change_to_text(exchange: Any) -> None:
    exchange.change(TOO_LONG)


async def _inject_text(exchange: Any) -> None:
    exchange.inject("OK")


async def _say_number(exchange: Any) -> None:
    exchange.say(3)


async def _sleep_text(exchange: Any) -> None:
    await exchange.sleep("1s")


async def _sleep_text_on_the_connection(exchange: Any) -> None:
    await exchange.connection.sleep("1s")


DEEDS: list[tuple[Callable[[Any], Awaitable[None]], str]] = [
    (_reply_bytes, "reply was given b'OK', of type bytes; expected a vaurien.framing.Reply, such as Reply(b'...')"),
    (_reply_of_text, "Reply was given 'OK', of type str; expected bytes"),
    (_finish_bytes, "finish was given b'OK', of type bytes; expected a vaurien.framing.Reply, such as Reply(b'...')"),
    (_change_to_text, f"change was given 'xxx{'x' * 56}..., of type str; expected bytes"),
    (_inject_text, "inject was given 'OK', of type str; expected bytes"),
    (_say_number, "say was given 3, of type int; expected bytes"),
    (_sleep_text, "sleep was given '1s', of type str; expected seconds, as a number"),
    (_sleep_text_on_the_connection, "sleep was given '1s', of type str; expected seconds, as a number"),
]


class Wrong(Behavior, frozen=True):
    """Does deed number *deed* with each request."""

    deed: int = 0

    async def on_request(self, exchange: Exchange) -> None:
        await DEEDS[self.deed][0](exchange)


class SendsText(Behavior, frozen=True):
    """Sends text in the place of bytes."""

    async def on_data(self, link: Link, data: bytes) -> None:
        await link.send("OK")  # type: ignore[arg-type]


def failure(fault: Fault) -> Failed:
    """The event of a connection that *fault* ends."""
    with Echo() as echo, running(echo.address, "", fault) as proxy:
        with contextlib.suppress(OSError), proxy.connect() as client:
            client.sendall(b"ask")
            assert client.recv(100) == b""
        [failed] = proxy.events.wait(Failed)
    return failed


def line_of(deed: Callable[[Any], Awaitable[None]]) -> str:
    return f" ({__file__}:{deed.__code__.co_firstlineno + 1})"


@pytest.mark.parametrize("number", range(len(DEEDS)), ids=lambda number: DEEDS[number][0].__name__)
def test_a_wrong_type_is_named_at_the_line_of_the_plugin(number: int) -> None:
    deed, message = DEEDS[number]
    failed = failure(Fault(name="wrong", behavior=f"{__name__}.Wrong", options={"deed": number}))
    assert failed.where == "behavior wrong"
    assert failed.error == f"TypeError: {message}{line_of(deed)}"


class FailsInAnotherModule(Behavior, frozen=True):
    """Calls a module of Python that raises."""

    async def on_request(self, exchange: Exchange) -> None:
        json.loads("{")


def test_the_line_is_the_plugins_where_a_module_that_it_calls_raises() -> None:
    failed = failure(Fault(name="wrong", behavior=f"{__name__}.FailsInAnotherModule"))
    line = FailsInAnotherModule.on_request.__code__.co_firstlineno + 1
    assert failed.error.startswith("JSONDecodeError: ")
    assert failed.error.endswith(f" ({__file__}:{line})")


def test_text_for_a_link_too() -> None:
    failed = failure(Fault(name="wrong", behavior=f"{__name__}.SendsText"))
    assert failed.where == "behavior wrong"
    line = SendsText.on_data.__code__.co_firstlineno + 1
    assert failed.error == f"TypeError: send was given 'OK', of type str; expected bytes ({__file__}:{line})"


@pytest.mark.parametrize("number", range(len(DEEDS)), ids=lambda number: DEEDS[number][0].__name__)
def test_the_fake_exchange_refuses_the_same(number: int) -> None:
    deed, message = DEEDS[number]
    exchange = FakeExchange()
    with pytest.raises(TypeError) as raised:
        asyncio.run(deed(exchange))  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_the_fake_link_too() -> None:
    with pytest.raises(TypeError, match="send was given 'OK', of type str; expected bytes"):
        asyncio.run(FakeLink(FakeConnection(), True).send("OK"))  # type: ignore[arg-type]
