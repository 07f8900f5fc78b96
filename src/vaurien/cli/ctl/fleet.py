"""``vaurienctl fleet``: the nodes of a fleet, its limits, its schedule, and how everything is stopped."""

from __future__ import annotations

import json
from typing import Any

import click

from vaurien.cli.ctl import columns
from vaurien.cli.ctl.context import Commands, CtlContext, examples, pairs, pass_control


@click.group(
    "fleet",
    cls=Commands,
    no_args_is_help=False,
    epilog=examples(
        "vaurienctl fleet show",
        "vaurienctl --fleet --nodes role=payments fault add api error --probability 0.1 --ttl 30",
        "vaurienctl fleet limits max_nodes=3 max_share=0.05 require_ttl=true",
        "vaurienctl fleet stop the checkout is down",
    ),
)
def fleet() -> None:
    """A fleet of many nodes: what each runs, and what ends it."""


@fleet.command("show", epilog=examples("vaurienctl fleet show"))
@pass_control
def show(control: CtlContext) -> None:
    """List the nodes; what a node does not run as desired is named on standard error, with the reason."""
    answer = control.client.get_fleet()
    control.show(answer if control.as_json else [_row(one) for one in answer["nodes"]], *_COLUMNS)
    for node in answer["nodes"]:
        for key, problem in node["problems"].items():
            text = f"vaurienctl: node {node['name']!r} differs: {key}: {problem}".replace(": : ", ": ")
            click.echo(columns.cell(text), err=True)
    for trouble in filter(None, [answer["trouble"], "everything is stopped" if answer["stopped"] else None]):
        click.echo(f"vaurienctl: {trouble}", err=True)


_COLUMNS = ("name", "labels", "faults", "hits", "problems", "offset", "version")


def _row(node: dict[str, Any]) -> dict[str, Any]:
    """A node in a line: its clock's offset is in milliseconds."""
    faults = [f"{one['proxy']}/{one['fault']}" for one in node["faults"]]
    labels = [f"{name}={value}" for name, value in node["labels"].items()]
    counts = {"hits": sum(one["hits"] for one in node["faults"]), "problems": len(node["problems"])}
    return {**node, "labels": labels, "faults": faults, **counts, "offset": f"{1000 * node['offset']:.1f}ms"}


@fleet.command("events", epilog=examples("vaurienctl fleet events"))
@pass_control
def events(control: CtlContext) -> None:
    """Follow what nodes tell, one JSON object a line: listening, changes of faults and mixes, failures."""
    for event in control.client.fleet_events():
        click.echo(json.dumps(event))


@fleet.command("select", epilog=examples("vaurienctl fleet select api error nodes=role=payments share=0.1"))
@click.argument("proxy")
@click.argument("fault")
@click.argument("nodes", nargs=-1, metavar="[NAME=VALUE]...")
@pass_control
def select(control: CtlContext, proxy: str, fault: str, nodes: tuple[str, ...]) -> None:
    """Have FAULT of PROXY on other nodes, for what is left of its time: nodes, share, max_nodes; all if not given."""
    control.client.select_nodes(proxy, fault, **pairs(nodes))


@fleet.command("stop", epilog=examples("vaurienctl fleet stop checkout is down"))
@click.argument("reason", nargs=-1, required=True)
@pass_control
def stop(control: CtlContext, reason: tuple[str, ...]) -> None:
    """Stop everything: all faults of all nodes end, and none of the fleet begins until `resume`."""
    control.client.stop_fleet(reason=" ".join(reason))


@fleet.command("resume", epilog=examples("vaurienctl fleet resume"))
@pass_control
def resume(control: CtlContext) -> None:
    """Let the faults of the fleet act again."""
    control.client.resume_fleet()


@fleet.command("heartbeat", epilog=examples("vaurienctl fleet heartbeat"))
@pass_control
def heartbeat(control: CtlContext) -> None:
    """Say that a controller lives; with the limit heartbeat all faults end when it does not say so in time."""
    control.client.send_heartbeat()


@fleet.command("limits", epilog=examples("vaurienctl fleet limits", "vaurienctl fleet limits heartbeat=30 max_nodes=3"))
@click.argument("limits", nargs=-1, metavar="[NAME=VALUE]...")
@pass_control
def limits(control: CtlContext, limits: tuple[str, ...]) -> None:
    """Show the limits, or replace them: max_nodes, max_share, require_ttl, heartbeat, probe (as JSON)."""
    client = control.client
    control.show(client.set_fleet_limits(**pairs(limits)) if limits else client.get_limits())


@fleet.command(
    "schedule",
    epilog=examples(
        "vaurienctl fleet schedule", "vaurienctl fleet schedule storm.toml", "vaurienctl fleet schedule --end"
    ),
)
@click.argument("file", required=False, type=click.File())
@click.option("--end", is_flag=True, help="Play it no longer.")
@pass_control
def schedule(control: CtlContext, file: Any, end: bool) -> None:
    """Show the schedule and how far it is, or have the fleet play that of FILE, whose steps name a proxy each."""
    if end:
        control.client.end_schedule()
    elif file is not None:
        control.client.set_schedule(toml=file.read())
    else:
        found = control.client.get_schedule()
        control.show([found] if found else [], "played", "began", "failed", "author")


@fleet.command("audit", epilog=examples("vaurienctl fleet audit"))
@pass_control
def audit(control: CtlContext) -> None:
    """List the last changes, oldest first: time, caller, node and entry."""
    control.show(control.client.get_audit(), "at", "by", "via", "key")
