"""``vaurienctl``: steer running proxies from a shell.

Every command is a call of the HTTP interface. What it prints is a table on a terminal, lines of fields separated by
tabs in a pipe, and with ``--json`` what the interface said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from vaurien import __version__
from vaurien.cli import usage
from vaurien.cli.ctl.context import SECONDS, WAIT_HELP, Commands, CtlContext, examples, pairs, pass_control, printed
from vaurien.cli.ctl.faults import fault
from vaurien.cli.ctl.finding import URLS
from vaurien.cli.ctl.fleet import fleet as fleet_commands
from vaurien.cli.ctl.mesh import mesh
from vaurien.cli.ctl.names import a_proxy, behaviors, faults_of_proxy, protocols, proxies
from vaurien.cli.ctl.presets import preset
from vaurien.cli.ctl.top import top, watch
from vaurien.client import Refused, Unreachable
from vaurien.errors import VaurienError, nearest

OK, REFUSED, BAD_INPUT, UNREACHABLE = 0, 1, 2, 3
"""Exit statuses: done, refused by the interface, not understood, no answer."""


_EXAMPLES = examples(
    "vaurienctl create redis --listen localhost:6380 --backend localhost:6379 --protocol redis",
    "vaurienctl fault add redis latency latency=200ms",
    "vaurienctl set-behavior delay sleep=2",
    "vaurienctl list --json | jq '.[].name'",
    "vaurienctl --host unix:/run/vaurien.sock events --proxy redis",
    "vaurienctl config > kept.json && vaurienctl config kept.json",
)
_STATUSES = (
    "Exit status: 0 when it is done, 1 when the interface refused it, 2 when the command line is not understood, "
    "3 when no server answers."
)


@click.group(
    "vaurienctl",
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"{_STATUSES}\n\n{_EXAMPLES}",
)
@click.option(
    "--host",
    metavar="URL",
    help="Where the interface is: http://host:port, host:port or unix:/path "
    f"[default: {URLS[0]}, as of vaurien --http; if nothing answers there {URLS[1]}, as of vaurien serve]",
)
@click.option(
    "--wait",
    type=SECONDS,
    default=0.0,
    metavar="SECONDS",
    help=f"{WAIT_HELP[:-1]} [default: 0]",
)
@click.option("--token-file", type=click.File(), envvar="VAURIEN_TOKEN_FILE", help="A file with the interface's token.")
@click.option("--fleet", is_flag=True, help="Steer what the fleet wants, instead of that program alone.")
@click.option(
    "--nodes", metavar="LABELS", help="With --fleet: on nodes whose labels fit, such as role=payments,zone!=b."
)
@click.option("--share", metavar="RATIO", help="With --fleet: on this share of these nodes, from 0 to 1.")
@click.option("--max-nodes", metavar="COUNT", help="With --fleet: on at most so many of these nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print what the interface says, as JSON.")
@click.version_option(__version__, "-V", "--version", prog_name="vaurienctl", message="%(prog)s %(version)s")
@click.pass_context
def command(
    context: click.Context,
    /,
    host: str | None,
    wait: float,
    token_file: Any,
    as_json: bool,
    fleet: bool,
    **selecting: str | None,
) -> None:
    """Steer running proxies.

    Environment: VAURIEN_URL may stand for --host, VAURIEN_TOKEN_FILE or TOXIPROXY_AUTH_TOKEN for --token-file.
    """
    query = {name: value for name, value in selecting.items() if value is not None}
    if query and not fleet:
        raise click.UsageError(
            f"--{next(iter(query)).replace('_', '-')} selects nodes of a fleet; expected --fleet beside it"
        )
    query |= {"scope": "fleet"} if fleet else {}
    url = host or os.environ.get("VAURIEN_URL")
    context.obj = CtlContext(url, token_file.read().strip() if token_file else None, as_json, query, wait)


# The three of Mozilla's Vaurien.


@command.command("list-behaviors", epilog=examples("vaurienctl list-behaviors"))
@pass_control
def list_behaviors(control: CtlContext) -> None:
    """List the behaviors of the first proxy."""
    behaviors = control.client.list_behaviors()
    control.show([{"behavior": name} for name in behaviors], "behavior")


@command.command("get-behavior", epilog=examples("vaurienctl get-behavior"))
@pass_control
def get_behavior(control: CtlContext) -> None:
    """Show how the first proxy behaves."""
    control.show([{"behavior": control.client.get_behavior()}], "behavior")


@command.command(
    "set-behavior", epilog=examples("vaurienctl set-behavior delay sleep=2", "vaurienctl set-behavior dummy")
)
@click.argument("name", shell_complete=behaviors)
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@pass_control
def set_behavior(control: CtlContext, name: str, options: tuple[str, ...]) -> None:
    """Have the first proxy behave as NAME says."""
    try:
        control.client.set_behavior(name, **pairs(options))
    except ValueError as error:  # as Mozilla's client raises it: in its words, without the nearest name
        known = [one["name"] for one in control.client.describe_behaviors()]
        near = nearest(name, known)
        if name in known or near is None:
            raise
        raise ValueError(f"{error}; did you mean {near!r}?") from None


def _early(name: str, now: click.Command) -> None:
    """Take *name*, the spelling of the first releases, for the command *now*, with a line that says so."""

    def run(**given: Any) -> None:
        print(f"vaurienctl: {name} is the spelling of an early release; write {now.name}", file=sys.stderr)
        click.get_current_context().invoke(now, **given)

    early = click.Command(name, callback=run, params=now.params, help=now.help, hidden=True)
    click.Group.add_command(command, early)  # *now* has --host, --wait and --json already


_early("list-handlers", list_behaviors)
_early("get-handler", get_behavior)
_early("set-handler", set_behavior)

# Proxies.


_PROXY = ("name", "address", "backend", "protocol", "enabled", "connections", "mix", "faults", "hits", "last_hit")
_CREATED = ("name", "address", "backend")
_CONNECTION = ("number", "peer", "age", "sent", "received", "faults", "encrypted")
_DIAGNOSIS = ("fault", "cause", "text")


@command.command("list", epilog=printed(_PROXY, "vaurienctl list", "vaurienctl list --json | jq '.[].name'"))
@pass_control
def list_proxies(control: CtlContext) -> None:
    """List the proxies; those that do not run as they are configured are named on standard error, with the reason."""
    found = control.client.list_proxies()
    control.show(found, *_PROXY)
    for proxy in found:
        if proxy.get("differs"):
            click.echo(f"vaurienctl: proxy {proxy['name']!r} differs: {proxy['differs']}", err=True)


@command.command("inspect", epilog=examples("vaurienctl inspect redis"))
@a_proxy
@pass_control
def inspect(control: CtlContext, proxy: str) -> None:
    """Show everything about a proxy."""
    control.show(control.client.get_proxy(proxy))


@command.command(
    "create",
    epilog=printed(
        _CREATED,
        "vaurienctl create redis --backend localhost:6379 --protocol redis",
        "vaurienctl create web --listen :8000 --backend localhost:8001 --mix 20:delay,10:error",
    ),
)
@click.argument("name")
@click.option("--listen", "-l", help="Where clients connect [default: a free port of 127.0.0.1]")
@click.option("--backend", "--upstream", "-u", "backend", required=True, help="The server behind it, host:port.")
@click.option("--protocol", help="What the two speak [default: tcp]", shell_complete=protocols)
@click.option("--mix", help="Percent and name of each behavior, such as 20:delay,10:error.")
@pass_control
def create(control: CtlContext, /, **given: Any) -> None:
    """Create a proxy called NAME."""
    proxy = control.client.create_proxy(**{name: value for name, value in given.items() if value is not None})
    control.show([proxy], *_CREATED)
    _warn(proxy)


def _warn(proxy: Mapping[str, Any]) -> None:
    """Say what may surprise about *proxy*, which was accepted; a server of another version may not know of it."""
    if proxy.get("warning"):
        click.echo(f"vaurienctl: proxy {proxy['name']!r}: {proxy['warning']}", err=True)


@command.command(
    "update",
    short_help="Change fields of a proxy.",
    epilog=examples(
        "vaurienctl update redis backend=localhost:6381 timeout=2",
        "vaurienctl update redis 'protocol_options={\"keep_alive\": true}'",
    ),
)
@a_proxy
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE...")
@pass_control
def update(control: CtlContext, proxy: str, fields: tuple[str, ...]) -> None:
    """Change what is given of a proxy: a field of what `inspect` shows."""
    given = pairs(fields, "FIELD=VALUE, such as timeout=2")
    for name in ("seed", "tls_min_version", "tls_max_version"):
        if name in given:
            given[name] = str(given[name])  # text, though it looks like a number
    changed = control.client.change_proxy(proxy, **given)
    control.show(changed)
    _warn(changed)


@command.command("toggle", epilog=examples("vaurienctl toggle redis"))
@a_proxy
@pass_control
def toggle(control: CtlContext, proxy: str) -> None:
    """Switch a proxy off, or on again."""
    enabled = control.client.get_proxy(proxy)["enabled"]
    changed = control.client.change_proxy(proxy, enabled=not enabled)
    if control.as_json:
        control.show([changed])
    else:
        click.echo(f"{changed['name']} is {'on' if changed['enabled'] else 'off'}")


@command.command(
    "mix",
    short_help="Show the mix of a proxy, or set another one.",
    epilog=examples("vaurienctl mix redis", "vaurienctl mix redis 20:delay,10:error", "vaurienctl mix redis ''"),
)
@a_proxy
@click.argument("mix", required=False)
@pass_control
def mix(control: CtlContext, proxy: str, mix: str | None) -> None:
    """Show the mix of PROXY: percent and name of each behavior; or have it be MIX, and an empty one ends it."""
    answer = control.client.get_mix(proxy) if mix is None else control.client.set_mix(proxy, mix=mix)
    if control.as_json:
        control.show(answer)
    else:
        click.echo(answer["text"] or "-")


@command.command("delete", epilog=examples("vaurienctl delete redis"))
@a_proxy
@pass_control
def delete(control: CtlContext, proxy: str) -> None:
    """Delete a proxy."""
    control.client.delete_proxy(proxy)


@command.command(
    "connections", epilog=printed(_CONNECTION, "vaurienctl connections redis", "vaurienctl connections redis --json")
)
@a_proxy
@pass_control
def connections(control: CtlContext, proxy: str) -> None:
    """List a proxy's open connections."""
    found = control.client.list_connections(proxy)
    control.show(found, *_CONNECTION)


@command.command("why", epilog=printed(_DIAGNOSIS, "vaurienctl why redis", "vaurienctl why redis latency"))
@a_proxy
@click.argument("fault", required=False, shell_complete=faults_of_proxy)
@pass_control
def why(control: CtlContext, proxy: str, fault: str | None) -> None:
    """Say why the faults of a proxy, or one of them, have not hit: what they saw, and what kept them from acting.

    A behavior of the mix is one of them.
    """
    client = control.client
    names = [fault] if fault else _names_of_faults(client.get_proxy(proxy))
    control.show([client.diagnose_fault(proxy, name) for name in names], *_DIAGNOSIS)


def _names_of_faults(proxy: Any) -> list[str]:
    """Those of the mix, and the others; a name that both have once."""
    return list(dict.fromkeys([*(one["behavior"] for one in proxy["mix"]), *(one["name"] for one in proxy["faults"])]))


command.add_command(fault)
command.add_command(mesh)
command.add_command(fleet_commands)
command.add_command(preset)

# The whole.


@command.command("reset", epilog=examples("vaurienctl reset"))
@pass_control
def reset(control: CtlContext) -> None:
    """Switch all proxies on, and take all mixes and faults away."""
    control.client.reset()


@command.command(
    "events",
    short_help="Follow events, one JSON object a line.",
    epilog=examples("vaurienctl events", "vaurienctl events --proxy redis | jq -c 'select(.type == \"Closed\")'"),
)
@click.option("--proxy", help="Only of this proxy.", shell_complete=proxies)
@click.option("--since", type=int, help="Only after the event of this number.")
@pass_control
def events(control: CtlContext, proxy: str | None, since: int | None) -> None:
    """Follow events, one JSON object a line; those that are remembered come first."""
    for event in control.client.events(proxy=proxy, since=since):
        click.echo(json.dumps(event))


@command.command(
    "config",
    short_help="Print all proxies as JSON, or replace them by those of a file.",
    epilog=examples("vaurienctl config > kept.json", "vaurienctl config kept.json"),
)
@click.argument("file", required=False, type=click.File("rb"))
@pass_control
def config(control: CtlContext, file: Any) -> None:
    """Print all proxies as JSON, or replace them by those of FILE, which has the same form (- is standard input)."""
    if file is None:
        click.echo(json.dumps(control.client.get_config(), indent=2))
        return
    data = file.read()
    try:
        wanted = json.loads(data)
    except ValueError:
        from vaurien.control import explain

        raise click.UsageError(explain.syntax(data).replace("the body", file.name, 1)) from None
    if not isinstance(wanted, Mapping):
        raise click.UsageError(f"{file.name} is not valid; expected an object, such as `vaurienctl config` prints")
    control.client.set_config(**wanted)


command.add_command(top)
command.add_command(watch)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    if "_VAURIENCTL_COMPLETE" in os.environ:
        from vaurien.cli import shells

        shells.register()
    try:
        command.main(arguments, prog_name="vaurienctl", standalone_mode=False)
    except click.UsageError as error:
        return _fail(BAD_INPUT, usage.explain(error))
    except click.ClickException as error:
        return _fail(BAD_INPUT, error.format_message())
    except Unreachable as error:
        starts = isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)
        return _fail(UNREACHABLE, f"{error}{'; --wait SECONDS waits for a server that starts' if starts else ''}")
    except (Refused, VaurienError, ValueError) as error:
        return _fail(REFUSED, str(error))
    except (KeyboardInterrupt, click.Abort):  # how one stops following events
        return OK
    except SystemExit:  # another way, `| head`: what click makes of a pipe that has no reader
        return OK
    return OK


def _fail(status: int, message: str) -> int:
    print("vaurienctl:", " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
