"""``vaurienctl fault``: the faults of a proxy."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

import click

from vaurien.cli.ctl.context import Commands, CtlContext, examples, pairs, pass_control, printed, texts
from vaurien.cli.ctl.names import a_proxy, behaviors, faults_of_proxy, options_of_behavior, options_of_fault
from vaurien.client import Refused
from vaurien.errors import OptionError, nearest

if TYPE_CHECKING:
    from vaurien.client import Client

_ADD = (
    "vaurienctl fault add redis latency latency=200ms stream=downstream ttl=30s",
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


def _fields(given: dict[str, Any], words: Sequence[str], behavior: Callable[[], str], client: Client) -> dict[str, Any]:
    """What of a fault was *given* by flags and by *words*, ``OPTION=VALUE``, as the interface wants it.

    The words are options of *behavior*, and fields of a fault as ``vaurien --fault`` takes them; *client* knows which,
    and is asked where a word may be a field. Raises `click.UsageError`.
    """
    fields = {name: value for name, value in given.items() if value is not None and name not in (*_WINDOW, "match")}
    window = {name: given[name] for name in _WINDOW if given[name] is not None}
    match = texts(given["match"], "--match FIELD=PATTERN, such as --match path=/api/*")
    options, told, told_window, told_match = _told(words, behavior, client)
    for flags, others in ((fields, told), (window, told_window), (match, told_match)):
        for twice in flags.keys() & others.keys():
            raise click.UsageError(f"{twice} is given twice, by a flag and as OPTION=VALUE; expected it once")
        flags |= others
    fields |= {name: table for name, table in (("window", window), ("match", match)) if table}
    return {"options": options, **fields}


def _told(
    words: Sequence[str], behavior: Callable[[], str], client: Client
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, str]]:
    """What *words* say: options of *behavior*, and of the fault its fields, those of its window, and its match."""
    options: dict[str, Any] = pairs(words)
    fields: dict[str, Any] = {}
    window: dict[str, Any] = {}
    match: dict[str, str] = {}
    if not options:
        return options, fields, window, match
    from vaurien.config.fault import FIELDS, declarations_of_faults  # takes as long to import as all the rest
    from vaurien.config.layers import Given, converted

    def meant(name: str) -> str | None:
        return name if name in FIELDS else _OTHERS.get(name) or nearest(name, FIELDS, _SURE)

    if not any(name.startswith((_MATCH, _OPTIONS)) or meant(name) for name in options):
        return options, fields, window, match
    owner = behavior()
    own = _options_of(owner, client)
    declared = {one.name: one for one in declarations_of_faults()}
    for name, value in texts(words, _OPTION).items():
        if name in own:
            continue
        if name.startswith(_MATCH):
            match[name.removeprefix(_MATCH)] = value
            del options[name]
        elif name.startswith(_OPTIONS):
            options[name.removeprefix(_OPTIONS)] = options.pop(name)
        elif name in FIELDS:
            try:
                read = converted(declared[name], Given(value, ""), f"fault {owner!r}")
            except OptionError as error:
                raise click.UsageError(str(error)) from None
            key = "seconds" if name == "for" else name
            (window if key in _WINDOW else fields)[key] = read
            del options[name]
        elif near := meant(name):
            raise click.UsageError(f"unknown option {name!r} of fault {owner!r}; did you mean {near!r}?")
    return options, fields, window, match


def _options_of(behavior: str, client: Client) -> Container[str]:
    try:
        described = client.describe_behavior(behavior)
    except Refused:  # there is none of that name: the interface says so when it is asked for the fault
        return ()
    own: dict[str, Any] = described["options"].get("properties", {})
    return own


_OPTION = "OPTION=VALUE, such as sleep=2"
_MATCH, _OPTIONS = "match.", "options."

_OTHERS = {"toxicity": "probability", "seconds": "for"}
"""What Toxiproxy, and a flag here, call a field."""

_SURE = 0.8
"""How much a word is like a field that was meant."""


_LISTED = ("name", "behavior", "hits", "connections_hit", "exchanges_hit", "last_hit", "expect_hits")


@fault.command("list", epilog=printed(_LISTED, "vaurienctl fault list redis"))
@a_proxy
@pass_control
def list_faults(control: CtlContext, proxy: str) -> None:
    """List the faults of PROXY: how often each has hit, so many connections and exchanges, and when the last time."""
    found = control.client.list_faults(proxy)
    _show(control, found, *_LISTED)


def _show(control: CtlContext, faults: list[dict[str, Any]], *columns: str) -> None:
    control.show(faults, *columns)
    for one in faults:
        if one.get("warning"):
            click.echo(f"vaurienctl: fault {one['name']!r} changes nothing: {one['warning']}", err=True)


@fault.command("add", epilog=printed(_FAULT, *_ADD))
@a_proxy
@click.argument("behavior", shell_complete=behaviors)
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", shell_complete=options_of_behavior)
@click.option("--name", help="What to call it [default: the behavior's name]")
@_when
@pass_control
def add(control: CtlContext, /, proxy: str, behavior: str, options: tuple[str, ...], **given: Any) -> None:
    """Put BEHAVIOR in use on PROXY.

    If nothing else is said it is drawn for every connection, and acts on both directions until it is removed.
    OPTION is an option of BEHAVIOR or, as `vaurien --fault` takes it, a field of the fault: probability=0.1,
    stream=downstream, ttl=30s, match.path=/api/*. Where both have that name, the behavior's is meant.
    """
    fields = _fields(given, options, lambda: behavior, control.client)
    added = control.client.add_fault(proxy, behavior=behavior, **fields)
    _show(control, [added], *_FAULT)


@fault.command("update", epilog=printed(_FAULT, *_UPDATE))
@a_proxy
@click.argument("name", shell_complete=faults_of_proxy)
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", shell_complete=options_of_fault)
@_when
@pass_control
def update(control: CtlContext, /, proxy: str, name: str, options: tuple[str, ...], **given: Any) -> None:
    """Change what is given of the fault NAME of PROXY; the rest stays as it is.

    OPTION is an option of its behavior or, as `vaurien --fault` takes it, a field of the fault: probability=0.1.
    """
    client = control.client
    fields = _fields(given, options, lambda: client.get_fault(proxy, name)["behavior"], client)
    changed = client.change_fault(proxy, name, **fields)
    _show(control, [changed], *_FAULT)


@fault.command("remove", epilog=examples("vaurienctl fault remove redis latency"))
@a_proxy
@click.argument("name", shell_complete=faults_of_proxy)
@pass_control
def remove(control: CtlContext, proxy: str, name: str) -> None:
    """Take the fault NAME away from PROXY."""
    control.client.remove_fault(proxy, name)
