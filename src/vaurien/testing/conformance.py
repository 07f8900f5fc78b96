"""What every behavior has to keep to, as one check for the tests of a plugin."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from vaurien import options as declared
from vaurien import plugins
from vaurien.errors import OptionError
from vaurien.framing import Head, Protocol
from vaurien.hooks import HOOKS, Behavior, Exchange, overridden
from vaurien.testing.declaration import check_options, must
from vaurien.testing.fakes import FakeConnection, FakeExchange
from vaurien.testing.script import Change, Chunk, End, Played, Remove, Step, play

_PARTS = [bytes(range(start, start + 16)) for start in range(0, 240, 16)]


def check_behavior(behavior: type[Behavior], options: Mapping[str, Any] | None = None, *, loses: bool = False) -> None:
    """Raise AssertionError, saying what is wrong, unless *behavior* keeps to the contract of `vaurien.hooks`.

    It is built with *options*, given as a user gives them, over its defaults. *loses* says that to lose bytes, or to
    add or change some, is its purpose; otherwise every byte has to come through, in order, once it is removed.
    """
    check_declaration(behavior)
    made = declared.build(behavior, options or {}, owner=f"behavior {behavior.__name__!r}")
    for check in (_keeps_no_state_of_its_own, _survives_an_update, _acts_on_exchanges):
        check(made)
    if not loses:
        _loses_nothing(made)


def check_declaration(behavior: type[Behavior]) -> None:
    """Raise AssertionError unless *behavior* is documented, its options are, and its hooks are coroutines."""
    name = behavior.__name__
    check_options(behavior)
    for hook in overridden(behavior):
        must(inspect.iscoroutinefunction(getattr(behavior, hook)), f"{name}.{hook} is not `async def`")
    unknown = {member for member in vars(behavior) if member.startswith("on_")} - set(HOOKS)
    must(not unknown, f"{name} has {sorted(unknown)}, which are never called; hooks are {', '.join(HOOKS)}")


def _loses_nothing(behavior: Behavior) -> None:
    """Removed in the middle of the traffic, everything comes through in order, and so does the end."""
    played = play(behavior, [*_traffic(), Remove(at=0.0755), End(at=2.0), End(at=2.0, to_backend=False)])
    if played.end is not None:
        return
    sent = b"".join(_PARTS)
    for got, side in ((played.to_backend, "backend"), (played.to_client, "client")):
        must(got == sent, f"{_name(behavior)} was removed, and the {side} got {got!r} instead of {sent!r}")
    must(None not in (played.up_end, played.down_end), f"{_name(behavior)} was removed, and an end of stream is lost")


def _keeps_no_state_of_its_own(behavior: Behavior) -> None:
    """The same seed gives the same, whatever happened on other connections."""
    before = msgspec.structs.asdict(behavior)
    first, _, again = (play(behavior, _traffic(), number=number) for number in (1, 2, 1))
    must(first == again, f"{_name(behavior)} does not do the same twice with the same seed: where is its state?")
    must(msgspec.structs.asdict(behavior) == before, f"{_name(behavior)} changed its own options")


def _survives_an_update(behavior: Behavior) -> None:
    """Set again to what it is, it goes on where it was."""
    same = msgspec.structs.replace(behavior)
    plain, updated = (play(behavior, script) for script in (_traffic(), [*_traffic(), Change(same, at=0.0755)]))
    wanted = "what is to outlast that (what it did, until when it waits) belongs into `link.state`"
    broken = f"{_name(behavior)} does not go on where it was when its options are set again while it waits; {wanted}"
    must(_outcome(plain) == _outcome(updated), broken)


def _acts_on_exchanges(behavior: Behavior) -> None:
    """Hooks on exchanges act and return nothing, and end when the client does."""
    request = Head(request=True, data=b"request")
    protocol = _suitable(behavior)
    for hook, response in (("on_request", None), ("on_response", Head(request=False, data=b"response"))):
        exchange = FakeExchange(FakeConnection(), request=request, response=response, protocol=protocol)
        act: Callable[[Exchange], Any] = getattr(behavior, hook)
        run = exchange.connection.clock.start(act(exchange))
        exchange.connection.clock.advance(3600.0)
        exchange.leave()
        if run.error is not None:
            raise run.error
        must(run.done, f"{_name(behavior)}.{hook} still waits after an hour, though the client has left")


def _suitable(behavior: Behavior) -> Protocol:
    """A protocol that *behavior* works with: plain tcp, or one that is built in."""
    built_in: list[Protocol] = [plugins.find(name, "protocol").target() for name in plugins.names("protocol")]
    for made in (Protocol(), *built_in):
        with contextlib.suppress(OptionError):
            behavior.check(made)
            return made
    return Protocol()


def _traffic() -> Sequence[Step]:
    """Both sides talk, a part each 10 ms."""
    times = [(index * 0.01, part) for index, part in enumerate(_PARTS)]
    return [Chunk(part, at, to_backend) for at, part in times for to_backend in (True, False)]


def _outcome(played: Played) -> tuple[object, ...]:
    ended_at = None if played.ended_at is None else round(played.ended_at, 6)  # sums of times are rounded
    return played.to_backend, played.to_client, played.end, ended_at


def _name(behavior: Behavior) -> str:
    return type(behavior).__name__
