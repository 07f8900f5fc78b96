"""What the commands of ``vaurienctl`` have in common: whom they ask, and how they print the answer."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from vaurien.cli.ctl import columns, refusals
from vaurien.client import Client
from vaurien.client.plain import endpoint
from vaurien.errors import nearest


class Commands(click.Group):
    """A group that knows the nearest of its commands, whose options may also stand behind a command's name."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add *cmd*, with ``--host`` and ``--json``; its refusals name what was typed."""
        if not isinstance(cmd, click.Group):
            cmd.params += [_host_option(), _json_option()]
            assert cmd.callback is not None  # noqa: S101 - a command does something
            cmd.callback = refusals.explained(cmd.callback)
        super().add_command(cmd, name)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *arguments* name. Raises `click.UsageError` with what comes nearest."""
        known = self.list_commands(context)
        if arguments and arguments[0] not in known:
            near = nearest(arguments[0], known)
            advice = f"did you mean {near!r}?" if near else f"known are: {', '.join(known)}"
            raise click.UsageError(f"unknown command {arguments[0]!r}; {advice}", context)
        return super().resolve_command(context, arguments)


Commands.group_class = Commands


def _host_option() -> click.Option:
    def use(context: click.Context, _: click.Parameter, url: str | None) -> None:
        if url is not None:
            context.obj.url, context.obj.url_source = url, "--host"

    return click.Option(["--host"], metavar="URL", callback=use, expose_value=False, help="Where the interface is.")


def _json_option() -> click.Option:
    def use(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        context.obj.as_json |= wanted

    return click.Option(["--json"], is_flag=True, callback=use, expose_value=False, help="Print the answer as JSON.")


def examples(*lines: str) -> str:
    """The end of a help text: command lines, each as it is typed."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class Control:
    """Where to ask, with which token, and how answers are printed; *sources* say where the first two came from."""

    def __init__(self, url: str, url_source: str, token: str | None, token_source: str, as_json: bool) -> None:
        self.url, self.url_source = url, url_source
        self._token, self.token_source = token, token_source
        self.as_json = as_json

    @property
    def client(self) -> Client:
        """The client. Raises `click.UsageError` for a URL or a token that is none."""
        try:
            where = endpoint(self.url)
        except ValueError as error:
            raise click.UsageError(f"{self.url_source}: {error}") from None
        try:
            return Client(**where, token=self._token)
        except ValueError as error:
            raise click.UsageError(str(error).replace("token", self.token_source or "token", 1)) from None

    def moment(self, at: float | None) -> str:
        """When something was last, *at* so many seconds since the epoch: how long ago for people, in UTC in a pipe."""
        if at is None:
            return "never"
        if not sys.stdout.isatty():
            return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
        seconds = max(0.0, time.time() - at)
        for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
            if seconds >= size:
                return f"{seconds / size:.0f} {unit} ago"
        return f"{seconds:.0f} s ago"

    def show(self, answer: Any, *names: str) -> None:
        """Print *answer*, an object or a list of them; of each the fields *names*."""
        if self.as_json:
            click.echo(json.dumps(answer, indent=2))
        elif isinstance(answer, list):
            click.echo(columns.rows(answer, names, sys.stdout.isatty()), nl=False)
        else:
            click.echo(columns.record(answer, names or tuple(answer), sys.stdout.isatty()), nl=False)


pass_control = click.make_pass_decorator(Control)
"""Gives a command its `Control`."""


def pairs(options: Sequence[str], example: str = "OPTION=VALUE, such as sleep=2") -> dict[str, Any]:
    """What arguments such as *example* say. A value that is JSON is what it says, any other is text."""
    given = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option!r} is not valid; expected {example}")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def number(kind: type[int] | type[float], expected: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """The callback of an option whose text is a number. It raises `click.UsageError` with *expected* in it."""

    def convert(context: click.Context, option: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else kind(text)
        except ValueError:
            raise click.UsageError(f"{option.opts[0]}: {text!r} is not valid; expected {expected}", context) from None

    return convert
