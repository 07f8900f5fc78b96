"""``vaurienctl mesh``: cut and heal the edges between the nodes of a cluster."""

from __future__ import annotations

import shlex

import click

from vaurien.cli.ctl.context import Commands, CtlContext, examples, pass_control, printed

_ADD = (
    "vaurienctl mesh add isolate a ttl=30s",
    "vaurienctl mesh add partition a,b c how=reset",
    "vaurienctl mesh add gray b latency=200ms jitter=50ms",
)


@click.group(
    "mesh",
    cls=Commands,
    no_args_is_help=False,
    epilog=examples("vaurienctl mesh show", *_ADD, "vaurienctl mesh remove isolate a", "vaurienctl mesh heal"),
)
def mesh() -> None:
    """Partitions of a cluster whose nodes reach each other through proxies."""


_EDGE = ("source", "target", "address", "topologies")
_TOPOLOGY = ("name", "behavior", "edges", "ttl")


@mesh.command("show", epilog=printed(_EDGE, "vaurienctl mesh show"))
@pass_control
def show(control: CtlContext) -> None:
    """List the edges: the address that a node dials to reach another one, and the topologies on that way."""
    answer = control.client.get_mesh()
    control.show(answer if control.as_json else answer["edges"], *_EDGE)


@mesh.command("add", epilog=printed(_TOPOLOGY, *_ADD))
@click.argument("topology", nargs=-1, required=True, metavar="KIND [NODE,NODE...]... [OPTION=VALUE]...")
@pass_control
def add(control: CtlContext, topology: tuple[str, ...]) -> None:
    """Put a topology in force: partition, one-way, bridge, ring, minority, isolate, gray, delay."""
    added = control.client.add_topology(topology=shlex.join(topology))
    control.show([added], *_TOPOLOGY)


@mesh.command("remove", epilog=examples("vaurienctl mesh remove isolate a"))
@click.argument("name", nargs=-1, required=True, metavar="KIND [NODE,NODE...]...")
@pass_control
def remove(control: CtlContext, name: tuple[str, ...]) -> None:
    """End a topology."""
    control.client.remove_topology(" ".join(name))


@mesh.command("heal", epilog=examples("vaurienctl mesh heal"))
@pass_control
def heal(control: CtlContext) -> None:
    """End all topologies."""
    control.client.heal_mesh()
