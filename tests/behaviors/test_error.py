"""Errors of a protocol: which, and what they say."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.running import backend, pair, read, running
from vaurien import options, plugins
from vaurien.behaviors.error import ErrorBehavior
from vaurien.behaviors.transient import TransientBehavior
from vaurien.errors import OptionError
from vaurien.framing import Head, Protocol, Reply
from vaurien.model import TO_BACKEND, Fault

ASKED = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "memcache": b"get k\r\n",
    "smtp": b"NOOP\r\n",
}
ALIVE = b"Connection: keep-alive\r\n\r\n"


@pytest.mark.parametrize(
    ("protocol", "values", "said"),
    [
        (
            "http",
            {"status": 404, "message": "no such thing"},
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
            + ALIVE
            + b"no such thing\n",
        ),
        ("redis", {"code": "LOADING", "message": "come back later"}, b"-LOADING come back later\r\n"),
        ("memcache", {"message": "no memory, sorry"}, b"SERVER_ERROR no memory, sorry\r\n"),
        ("smtp", {"code": "451", "message": "later"}, b"451 later\r\n"),
    ],
)
def test_it_says_what_it_is_told(protocol: str, values: dict[str, Any], said: bytes) -> None:
    fault = Fault(name="it", behavior="error", options=values)
    with backend() as listening, running(listening.getsockname(), "", fault, protocol=protocol) as proxy:
        with pair(proxy, listening) as (client, _):
            client.sendall(ASKED[protocol])
            assert read(client, len(said)) == said


@pytest.mark.parametrize("values", [{}, {"message": "later"}])
@pytest.mark.parametrize("name", ASKED)
def test_its_replies_are_those_of_which_it_gives_one_by_chance(name: str, values: dict[str, Any]) -> None:
    asked, error = _Asked(name, Random("a")), ErrorBehavior(**values)
    replies = error.replies_to(asked)
    drawn = Random("a")
    chosen = [drawn.choice(replies) for _ in range(50)]
    assert [error.reply_to(asked) for _ in chosen] == chosen
    assert len(replies) > 1
    assert asked.random.random() == drawn.random()


@pytest.mark.parametrize("name", ASKED)
def test_with_a_code_it_has_one_reply_and_draws_nothing(name: str) -> None:
    asked = _Asked(name, Random("a"))
    error = ErrorBehavior(code=asked.protocol.error_codes[-1])
    assert error.replies_to(asked) == [error.reply_to(asked)]
    assert asked.random.random() == Random("a").random()


@pytest.mark.parametrize("error", [ErrorBehavior(warmup=1), TransientBehavior(), ErrorBehavior(inject=True)])
def test_what_counts_exchanges_is_asked_each_time(error: ErrorBehavior) -> None:
    assert not error.replies_to(_Asked("redis", Random()))


class _Asked:
    """A request of the protocol *name*, for a fault that draws from *random*."""

    matched = False

    def __init__(self, name: str, random: Random) -> None:
        self.protocol, self.random = plugins.find(name, "protocol").target(), random
        [(self.request, _), *_] = self.protocol.framer().feed(TO_BACKEND, ASKED[name])


def test_a_message_for_a_protocol_whose_errors_have_no_words_is_refused() -> None:
    class Terse(Protocol, frozen=True):
        """Errors are codes alone."""

        error_codes = ("BUSY",)

        def error_reply(self, head: Head, random: Random, code: str | None = None) -> Reply:  # type: ignore[override]
            return Reply(b"BUSY\n")

    ErrorBehavior(code="BUSY").check(Terse())
    with pytest.raises(OptionError, match="option message: 'x' is not valid; expected none: errors of this protocol"):
        ErrorBehavior(message="x").check(Terse())


@pytest.mark.parametrize(
    ("protocol", "values", "message"),
    [
        ("redis", {"status": 503}, "behavior 'error' option status: 503 is not valid; expected none: a status is for"),
        (
            "http",
            {"code": "LOADING"},
            "behavior 'error' option code: 'LOADING' is not valid; expected one of the proto",
        ),
        (
            "http",
            {"status": 499},
            "behavior 'error' option status: 499 is not valid; expected one of the protocol's: 400",
        ),
        (
            "tcp",
            {"message": "x"},
            "behavior 'error' option message: 'x' is not valid; expected none: this protocol has",
        ),
        ("tcp", {"code": "x"}, "behavior 'error' option code: 'x' is not valid; expected one of the protocol's: none"),
    ],
)
def test_what_the_protocol_does_not_have_is_refused(protocol: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        ErrorBehavior(**values).check(plugins.find(protocol, "protocol").target())
    assert message in str(raised.value)


def test_an_error_in_the_options_of_transient_names_it() -> None:
    with pytest.raises(OptionError, match="behavior 'transient' option code: 'LOADING' is not valid"):
        TransientBehavior(code="LOADING").check(plugins.find("http", "protocol").target())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": 200}, "option status: 200 is not valid; expected a whole number from 400 to 599"),
        ({"status": 503, "code": "503"}, "code or status, not both"),
        ({"message": "a\r\nb"}, "message in one line without control characters, not 'a\\r\\nb'"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        options.build(ErrorBehavior, values, owner="behavior 'error'")
    assert message in str(raised.value)
