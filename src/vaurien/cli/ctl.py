"""``vaurienctl``: steer running proxies from a shell.

Every command is a call of the HTTP interface. What it prints is a table on a terminal, lines of fields separated by
tabs in a pipe, and with ``--json`` what the interface said.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from vaurien import __version__
from vaurien.cli import columns
from vaurien.client import Client, Refused, Unreachable, at
from vaurien.errors import VaurienError

OK, REFUSED, BAD_INPUT, UNREACHABLE = 0, 1, 2, 3
"""Exit statuses: done, refused by the interface, not understood, nobody answers."""


class Commands(click.Group):
    """A group that knows the nearest of its commands."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *arguments* name. Raises `click.UsageError` with what comes nearest."""
        known = self.list_commands(context)
        if arguments and arguments[0] not in known:
            near = difflib.get_close_matches(arguments[0], known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            raise click.UsageError(f"unknown command {arguments[0]!r}; {advice}", context)
        return super().resolve_command(context, arguments)


Commands.group_class = Commands


class Control:
    """Where to ask, and how answers are printed."""

    def __init__(self, url: str, token: str | None, as_json: bool) -> None:
        self.url, self._token, self._as_json = url, token, as_json

    @property
    def client(self) -> Client:
        """The client. Raises `click.UsageError` for a URL that is none."""
        try:
            return at(self.url, token=self._token)
        except ValueError as error:
            raise click.UsageError(f"--host: {error}") from None

    def show(self, answer: Any, *names: str) -> None:
        """Print *answer*, an object or a list of them; of each the fields *names*."""
        if self._as_json:
            click.echo(json.dumps(answer, indent=2))
        elif isinstance(answer, list):
            click.echo(columns.rows(answer, names, sys.stdout.isatty()), nl=False)
        else:
            click.echo(columns.record(answer, names or tuple(answer), sys.stdout.isatty()), nl=False)


_control = click.make_pass_decorator(Control)


@click.group(
    "vaurienctl", cls=Commands, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--host", metavar="URL", help="Where the interface is: http://host:port, host:port or unix:/path.")
@click.option("--token-file", type=click.File(), help="A file with the interface's token.")
@click.option("--json", "as_json", is_flag=True, help="Print what the interface says, as JSON.")
@click.version_option(__version__, prog_name="vaurienctl")
@click.pass_context
def command(context: click.Context, host: str | None, token_file: Any, as_json: bool) -> None:
    """Steer running proxies. VAURIEN_URL may name the interface instead of --host."""
    url = host or os.environ.get("VAURIEN_URL", "http://localhost:8080")
    context.obj = Control(url, token_file.read().strip() if token_file else None, as_json)


def _host(context: click.Context, _: click.Parameter, url: str | None) -> None:
    """``--host`` behind a command's name, where the original had it."""
    if url is not None:
        context.obj.url = url


def _also_host(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--host", metavar="URL", callback=_host, expose_value=False, help="Where the interface is.")(
        function
    )


# The original's three.


@command.command("list-behaviors")
@_also_host
@_control
def list_behaviors(control: Control) -> None:
    """List the behaviors of the first proxy."""
    behaviors = control.client.list_behaviors()
    control.show([{"behavior": name} for name in behaviors], "behavior")


@command.command("get-behavior")
@_also_host
@_control
def get_behavior(control: Control) -> None:
    """Show how the first proxy behaves."""
    control.show([{"behavior": control.client.get_behavior()}], "behavior")


@command.command("set-behavior")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@_also_host
@_control
def set_behavior(control: Control, name: str, options: tuple[str, ...]) -> None:
    """Have the first proxy behave as NAME says."""
    control.client.set_behavior(name, **pairs(options))


# Proxies.


@command.command("list")
@_control
def list_proxies(control: Control) -> None:
    """List the proxies."""
    proxies = control.client.list_proxies()
    control.show(proxies, "name", "address", "backend", "protocol", "enabled", "connections", "mix", "faults")


@command.command("inspect")
@click.argument("proxy")
@_control
def inspect(control: Control, proxy: str) -> None:
    """Show everything about a proxy."""
    control.show(control.client.get_proxy(proxy))


@command.command("create")
@click.argument("name")
@click.option("--listen", help="Where clients connect [default: a free port of 127.0.0.1]")
@click.option("--backend", required=True, help="The server behind it, host:port.")
@click.option("--protocol", help="What the two speak.")
@click.option("--mix", help="Such as 20:delay,10:error.")
@_control
def create(control: Control, /, **given: Any) -> None:
    """Create a proxy called NAME."""
    proxy = control.client.create_proxy(**{name: value for name, value in given.items() if value is not None})
    control.show([proxy], "name", "address", "backend")


@command.command("toggle")
@click.argument("proxy")
@_control
def toggle(control: Control, proxy: str) -> None:
    """Switch a proxy off, or on again."""
    enabled = control.client.get_proxy(proxy)["enabled"]
    control.show([control.client.change_proxy(proxy, enabled=not enabled)], "name", "enabled")


@command.command("delete")
@click.argument("proxy")
@_control
def delete(control: Control, proxy: str) -> None:
    """Delete a proxy."""
    control.client.delete_proxy(proxy)


@command.command("connections")
@click.argument("proxy")
@_control
def connections(control: Control, proxy: str) -> None:
    """List a proxy's open connections."""
    found = control.client.list_connections(proxy)
    control.show(found, "number", "peer", "age", "sent", "received", "faults")


# Faults.


@command.group("fault", no_args_is_help=False)
def fault() -> None:
    """Faults of a proxy: add, update, remove."""


def _fault_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--scope", help="For what the dice are thrown: connection, exchange or chunk.")(function)
    function = click.option("--probability", type=float, help="From 0 to 1.")(function)
    return click.option("--stream", help="upstream, downstream or both.")(function)


@fault.command("add")
@click.argument("proxy")
@click.argument("behavior")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--name", help="What to call it [default: the behavior's name]")
@_fault_options
@_control
def add(control: Control, /, proxy: str, behavior: str, options: tuple[str, ...], **given: Any) -> None:
    """Put BEHAVIOR in use on PROXY."""
    fields = {name: value for name, value in given.items() if value is not None}
    added = control.client.add_fault(proxy, behavior=behavior, options=pairs(options), **fields)
    control.show([added], *_FAULT)


@fault.command("update")
@click.argument("proxy")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@_fault_options
@_control
def update(control: Control, /, proxy: str, name: str, options: tuple[str, ...], **given: Any) -> None:
    """Change what is given of the fault NAME of PROXY."""
    fields = {field: value for field, value in given.items() if value is not None}
    control.show([control.client.change_fault(proxy, name, options=pairs(options), **fields)], *_FAULT)


@fault.command("remove")
@click.argument("proxy")
@click.argument("name")
@_control
def remove(control: Control, proxy: str, name: str) -> None:
    """Take the fault NAME away from PROXY."""
    control.client.remove_fault(proxy, name)


_FAULT = ("name", "behavior", "options", "stream", "probability", "scope")

# The whole.


@command.command("events")
@click.option("--proxy", help="Only of this proxy.")
@click.option("--since", type=int, help="Only after the event of this number.")
@_control
def events(control: Control, proxy: str | None, since: int | None) -> None:
    """Follow what happens, a JSON object a line; what is remembered comes first."""
    for event in control.client.events(proxy=proxy, since=since):
        click.echo(json.dumps(event))


@command.command("config")
@click.argument("file", required=False, type=click.File())
@_control
def config(control: Control, file: Any) -> None:
    """Print all proxies as JSON; or have exactly those of FILE, written so (- is standard input)."""
    if file is None:
        click.echo(json.dumps(control.client.get_config(), indent=2))
        return
    try:
        wanted = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"{file.name} is not JSON: {error}") from None
    if not isinstance(wanted, Mapping):
        raise click.UsageError(f"{file.name} is not valid; expected an object, such as `vaurienctl config` prints")
    control.client.set_config(**wanted)


def pairs(options: Sequence[str]) -> dict[str, Any]:
    """What ``OPTION=VALUE`` arguments say. A value that is JSON is what it says, any other is text."""
    given = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option!r} is not valid; expected OPTION=VALUE, such as sleep=2")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    try:
        command.main(arguments, prog_name="vaurienctl", standalone_mode=False)
    except click.ClickException as error:
        return _fail(BAD_INPUT, error.format_message())
    except Unreachable as error:
        return _fail(UNREACHABLE, str(error))
    except (Refused, VaurienError, ValueError) as error:
        return _fail(REFUSED, str(error))
    except (KeyboardInterrupt, click.Abort, BrokenPipeError):  # how one stops following events
        return OK
    return OK


def _fail(status: int, message: str) -> int:
    print("vaurienctl:", " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
