"""``vaurienctl preset``: causes and networks by name."""

from __future__ import annotations

import click

from vaurien.cli.ctl.context import Commands, CtlContext, examples, pass_control, printed


@click.group(
    "preset",
    cls=Commands,
    no_args_is_help=False,
    epilog=examples("vaurienctl preset list", "vaurienctl preset add redis redis.loading:0.1"),
)
def preset() -> None:
    """Presets, faults of a network or a cause by name: list, add."""


_PRESET = ("name", "protocols", "about")
_FAULT = ("name", "behavior", "options", "stream", "probability", "scope")


@preset.command("list", epilog=printed(_PRESET, "vaurienctl preset list"))
@pass_control
def list_presets(control: CtlContext) -> None:
    """List the presets, and what each stands for."""
    control.show(control.client.list_presets(), *_PRESET)


@preset.command("add", epilog=printed(_FAULT, "vaurienctl preset add redis redis.loading:0.1"))
@click.argument("proxy")
@click.argument("name", metavar="NAME[:PROBABILITY]")
@pass_control
def add(control: CtlContext, proxy: str, name: str) -> None:
    """Add the faults of the preset NAME to PROXY, their probabilities multiplied by PROBABILITY."""
    added = control.client.add_preset(proxy, preset=name)
    control.show(added, *_FAULT)
