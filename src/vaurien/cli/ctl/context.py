"""What the commands of ``vaurienctl`` have in common: which server they ask, and how they print the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from vaurien.cli.ctl import columns, finding
from vaurien.client import Client
from vaurien.client.plain import endpoint
from vaurien.errors import nearest

_SYNONYMS: Mapping[str, Sequence[str]] = {
    "add": ("create", "fault add"),
    "new": ("create", "add"),
    "create": ("add",),
    "delete": ("remove",),
    "remove": ("delete", "fault remove"),
    "rm": ("delete", "remove", "fault remove"),
    "ls": ("list", "show"),
    "proxies": ("list",),
    "get": ("inspect", "list", "show"),
    "show": ("inspect", "list"),
    "list": ("show",),
    "change": ("update",),
    "edit": ("update",),
    "set": ("update",),
    "enable": ("toggle",),
    "disable": ("toggle",),
    "toxic": ("fault",),
    "toxics": ("fault",),
    "faults": ("fault",),
    "presets": ("preset",),
}
"""Words of other programs, Toxiproxy's command line first, and what stands for them here, where a group has it."""

SECONDS = click.FloatRange(0)
WAIT_HELP = "How long to wait for a server that starts, such as 5."

_OF_ALL = frozenset({"reset", "heal"})
"""Commands that take everything away at once: a mistyped word is never taken for one of them."""


class Commands(click.Group):
    """A group that knows the nearest of its commands, whose options may also stand behind a command's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args*. Raises `click.UsageError` for ``-h HOST``, as Toxiproxy's command line takes it."""
        if ctx.parent is None and "-h" in args:
            place = args.index("-h")
            following = next(iter(args[place + 1 :]), "")
            first = not any(word in self.commands for word in args[:place])
            if ":" in following or (
                first and following.strip("-") == following and following not in ("", *self.commands)
            ):
                raise click.UsageError(f"-h prints help and takes no value; expected --host {following}", ctx)
        return super().parse_args(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add *cmd*, with ``--host``, ``--wait`` and ``--json``."""
        if not isinstance(cmd, click.Group):
            cmd.params += [_host_option(), _wait_option(), _json_option()]
        super().add_command(cmd, name)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *arguments* name. Raises `click.UsageError` with what comes nearest."""
        known = self.list_commands(context)
        if arguments and arguments[0] not in known:
            meant = " or ".join(map(repr, _meant(arguments[0], known)))
            advice = f"did you mean {meant}?" if meant else f"known are: {', '.join(known)}"
            raise click.UsageError(f"unknown command {arguments[0]!r}; {advice}", context)
        return super().resolve_command(context, arguments)


Commands.group_class = Commands


def _meant(typed: str, known: Sequence[str]) -> Sequence[str]:
    """The commands of *known* that *typed* may stand for, those of groups with both words."""
    synonyms = {
        word: found
        for word, others in _SYNONYMS.items()
        if word not in known and (found := [one for one in others if one.partition(" ")[0] in known])
    }
    near = typed if typed in synonyms else nearest(typed, [*known, *synonyms])
    if near is None or near in _OF_ALL:
        return []
    return synonyms.get(near, [near])


def _host_option() -> click.Option:
    def use(context: click.Context, _: click.Parameter, url: str | None) -> None:
        if url is not None:
            context.obj.url = url

    return click.Option(["--host"], metavar="URL", callback=use, expose_value=False, help="Where the interface is.")


def _wait_option() -> click.Option:
    def use(context: click.Context, _: click.Parameter, seconds: float | None) -> None:
        if seconds is not None:
            context.obj.wait = seconds

    return click.Option(["--wait"], type=SECONDS, metavar="SECONDS", callback=use, expose_value=False, help=WAIT_HELP)


def _json_option() -> click.Option:
    def use(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        context.obj.as_json |= wanted

    return click.Option(["--json"], is_flag=True, callback=use, expose_value=False, help="Print the answer as JSON.")


def examples(*lines: str) -> str:
    """The end of a help text: command lines, each as it is typed."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def printed(names: Sequence[str], *lines: str) -> str:
    """The end of the help text of a command that prints the columns *names*; *lines* are its examples."""
    told = f"Columns: {', '.join(names)}. They have headings on a terminal; in a pipe tabs are between them."
    return f"{told}\n\n{examples(*lines)}"


class CtlContext:
    """Where to ask, and how answers are printed.

    Without *url* `finding.URLS` are tried. *wait* is how many seconds a server has that starts.
    """

    def __init__(
        self,
        url: str | None,
        token: str | None,
        as_json: bool,
        query: Mapping[str, str] = MappingProxyType({}),
        wait: float = 0.0,
    ) -> None:
        self.url, self._token, self.as_json, self._query, self.wait = url, token, as_json, query, wait

    @property
    def client(self) -> Client:
        """The client. Raises `click.UsageError` for a URL or a token that is none, and `Unreachable`."""
        try:
            self.url = finding.find(self.url, self.wait)
            where = endpoint(self.url)
        except ValueError as error:
            raise click.UsageError(f"--host: {error}") from None
        try:
            return Client(**where, token=self._token, query=self._query)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def show(self, answer: Any, *names: str) -> None:
        """Print *answer*, an object or a list of them; of each the fields *names*."""
        if self.as_json:
            click.echo(json.dumps(answer, indent=2))
        elif isinstance(answer, list):
            click.echo(columns.rows(answer, names, sys.stdout.isatty()), nl=False)
        else:
            click.echo(columns.record(answer, names or tuple(answer), sys.stdout.isatty()), nl=False)


pass_control = click.make_pass_decorator(CtlContext)
"""Gives a command its `CtlContext`."""


def pairs(options: Sequence[str], example: str = "OPTION=VALUE, such as sleep=2") -> dict[str, Any]:
    """What ``OPTION=VALUE`` arguments say, such as *example*. A value that is JSON is that, any other is text."""
    given: dict[str, Any] = {}
    for name, value in texts(options, example).items():
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def texts(options: Sequence[str], example: str) -> dict[str, str]:
    """What ``NAME=VALUE`` arguments, such as *example*, say, as it was typed. Raises `click.UsageError`."""
    given = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option!r} is not valid; expected {example}")
        given[name] = value
    return given
