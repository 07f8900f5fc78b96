"""``vaurienctl fault``: the faults of a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vaurien.cli.ctl.context import Commands, CtlContext, examples, pairs, pass_control, texts
from vaurien.cli.ctl.names import a_proxy, behaviors, faults_of_proxy, options_of_behavior, options_of_fault

_ADD = (
    "vaurienctl fault add redis latency latency=200ms --stream downstream",
    "vaurienctl fault add redis error --probability 0.1 --scope exchange --match command=GET",
)
_UPDATE = (
    "vaurienctl fault update redis latency latency=1s --probability 0.5",
    "vaurienctl fault update redis latency --stream both --ttl 60",
)


@click.group(
    "fault",
    cls=Commands,
    no_args_is_help=False,
    epilog=examples(*_ADD, *_UPDATE, "vaurienctl fault remove redis latency"),
)
def fault() -> None:
    """Faults of a proxy: list, add, update, remove."""


_WHEN = (
    click.option("--stream", help="upstream, downstream or both."),
    click.option("--probability", type=float, help="How likely an occasion is hit, from 0 to 1."),
    click.option("--scope", help="What an occasion is: connection, exchange or chunk."),
    click.option("--match", multiple=True, metavar="FIELD=PATTERN", help="Only where this matches; may be repeated."),
    click.option("--skip", type=int, help="Occasions that pass before it begins."),
    click.option("--count", type=int, help="How many occasions are hit at most."),
    click.option("--every", type=int, help="Only every n-th occasion."),
    click.option("--seconds", type=float, help="Seconds that it works, from when it is set."),
    click.option("--ttl", type=float, help="Seconds after which it is removed."),
    click.option("--expect-hits", metavar="RANGE", help="How often it is to hit, such as 1.. or 2..5."),
)
_FAULT = ("name", "behavior", "options", "stream", "probability", "scope")
_WINDOW = ("skip", "count", "every", "seconds")


def _when(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say when a fault acts."""
    for option in reversed(_WHEN):
        function = option(function)
    return function


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """What of a fault was *given*, as the interface wants it."""
    fields = {name: value for name, value in given.items() if value is not None and name not in (*_WINDOW, "match")}
    window = {name: given[name] for name in _WINDOW if given[name] is not None}
    if window:
        fields["window"] = window
    if given["match"]:
        fields["match"] = texts(given["match"], "--match FIELD=PATTERN, such as --match path=/api/*")
    return fields


@fault.command("list", epilog=examples("vaurienctl fault list redis"))
@a_proxy
@pass_control
def list_faults(control: CtlContext, proxy: str) -> None:
    """List the faults of PROXY: how often each has hit, so many connections and exchanges, and when the last time."""
    found = control.client.list_faults(proxy)
    _show(control, found, "name", "behavior", "hits", "connections_hit", "exchanges_hit", "last_hit", "expect_hits")


def _show(control: CtlContext, faults: list[dict[str, Any]], *columns: str) -> None:
    control.show(faults, *columns)
    for one in faults:
        if one.get("warning"):
            click.echo(f"vaurienctl: fault {one['name']!r} changes nothing: {one['warning']}", err=True)


@fault.command("add", epilog=examples(*_ADD))
@a_proxy
@click.argument("behavior", shell_complete=behaviors)
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", shell_complete=options_of_behavior)
@click.option("--name", help="What to call it [default: the behavior's name]")
@_when
@pass_control
def add(control: CtlContext, /, proxy: str, behavior: str, options: tuple[str, ...], **given: Any) -> None:
    """Put BEHAVIOR in use on PROXY.

    If nothing else is said it is drawn for every connection, and acts on both directions until it is removed.
    """
    added = control.client.add_fault(proxy, behavior=behavior, options=pairs(options), **_fields(given))
    _show(control, [added], *_FAULT)


@fault.command("update", epilog=examples(*_UPDATE))
@a_proxy
@click.argument("name", shell_complete=faults_of_proxy)
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", shell_complete=options_of_fault)
@_when
@pass_control
def update(control: CtlContext, /, proxy: str, name: str, options: tuple[str, ...], **given: Any) -> None:
    """Change what is given of the fault NAME of PROXY; the rest stays as it is."""
    changed = control.client.change_fault(proxy, name, options=pairs(options), **_fields(given))
    _show(control, [changed], *_FAULT)


@fault.command("remove", epilog=examples("vaurienctl fault remove redis latency"))
@a_proxy
@click.argument("name", shell_complete=faults_of_proxy)
@pass_control
def remove(control: CtlContext, proxy: str, name: str) -> None:
    """Take the fault NAME away from PROXY."""
    control.client.remove_fault(proxy, name)
