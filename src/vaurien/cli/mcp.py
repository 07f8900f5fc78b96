"""``vaurien mcp``: a server of the Model Context Protocol over standard input and output.

Its tools are calls of the HTTP interface of a Vaurien that runs; it has no proxies of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vaurien.cli.ctl import finding
from vaurien.cli.ctl.finding import URLS
from vaurien.cli.usage import run_command
from vaurien.client import Client, at
from vaurien.errors import PluginError, missing_package

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP

_ABOUT = """Breaks network connections on purpose, to test what depends on them. A proxy stands between clients and a
backend; a fault is a behavior in use on a proxy. Give faults a ttl, so that they end by themselves. list_behaviors says
what there is, with the options of each; hits says whether a fault has acted."""


def server(find: Callable[[], Client]) -> FastMCP:
    """The server whose tools call the client that *find* gives. Raises `PluginError` without the extra ``mcp``."""
    try:
        from mcp.server.fastmcp import FastMCP
    except ImportError as error:
        raise PluginError(f"{missing_package('vaurien mcp', 'mcp', 'mcp')}: {error}") from None
    made = FastMCP("vaurien", instructions=" ".join(_ABOUT.split()), log_level="CRITICAL")

    @made.tool()
    def list_proxies() -> list[dict[str, Any]]:
        """The proxies: address, backend, protocol, mix and faults of each, and how many connections are open."""
        found: list[dict[str, Any]] = find().list_proxies()
        return found

    @made.tool()
    def list_behaviors() -> list[dict[str, Any]]:
        """The behaviors that a fault can use: a summary of each, and a JSON Schema of its options."""
        return [
            {"name": one["name"], "summary": one["summary"], "options": one["options"]}
            for one in find().describe_behaviors()
        ]

    @made.tool()
    def add_fault(
        proxy: str,
        behavior: str,
        ttl: float,
        options: dict[str, Any] | None = None,
        name: str | None = None,
        probability: float = 1.0,
        stream: str = "both",
        match: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Break connections of a proxy.

        The fault ends after ttl seconds. probability (0 to 1) is how likely a connection is hit; stream is upstream (to
        the backend), downstream or both; match says which clients or exchanges, such as {"path": "prefix:/api"}.
        """
        fields = {"name": name, "match": match}
        given = {field: value for field, value in fields.items() if value is not None}
        added: dict[str, Any] = find().add_fault(
            proxy, behavior=behavior, options=options or {}, ttl=ttl, probability=probability, stream=stream, **given
        )
        return added

    @made.tool()
    def remove_fault(proxy: str, name: str) -> str:
        """End a fault before its time: what it held goes on, in order."""
        find().remove_fault(proxy, name)
        return f"fault {name!r} of proxy {proxy!r} has ended"

    @made.tool()
    def hits(proxy: str) -> list[dict[str, Any]]:
        """Of each fault of a proxy, how often it has hit; of one that has not, why."""
        client, found = find(), []
        for fault in client.list_faults(proxy):
            why = None if fault["hits"] else client.diagnose_fault(proxy, fault["name"])["text"]
            found.append({"fault": fault["name"], "hits": fault["hits"], "last_hit": fault["last_hit"], "why_not": why})
        return found

    @made.tool()
    def reset() -> str:
        """End all faults and mixes of all proxies, and switch all proxies on."""
        find().reset()
        return "no fault is left"

    return made


def finder(url: str | None, token: str | None) -> Callable[[], Client]:
    """Makes a client for *url*, or for that of `finding.URLS` which answers then. Raises ValueError for a *url*."""
    at(url or URLS[0], token=token)
    return lambda: at(finding.find(url, advice=""), token=token)


def _serve(made: FastMCP) -> None:
    """Serve until the input ends, also in the middle of a message, or the output is read no more."""
    import anyio  # mcp brings it

    try:
        made.run("stdio")
    except* (anyio.ClosedResourceError, anyio.BrokenResourceError, BrokenPipeError):
        pass  # a message was still to be sent: the client has left
    except* KeyboardInterrupt:
        pass


@click.command(
    "mcp",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='\b\nIn the configuration of a client:\n  {"command": "vaurien", "args": ["mcp"]}',
)
@click.option(
    "--host",
    metavar="URL",
    help=f"Where the interface of Vaurien is [default: {URLS[0]}, or {URLS[1]}, if nothing answers there].",
)
@click.option("--token-file", type=click.File(), help="A file with the interface's token.")
@click.pass_context
def command(context: click.Context, host: str | None, token_file: Any) -> None:
    """Offer the proxies of a running Vaurien over stdin and stdout to what speaks the Model Context Protocol.

    It can list proxies and behaviors, add faults that end by themselves, remove them, and read hits.
    """
    token = token_file.read().strip() if token_file else None
    try:
        find = finder(host or context.obj.get("VAURIEN_URL"), token)
    except ValueError as error:
        raise click.UsageError(f"--host: {error}") from None
    _serve(server(find))
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the server has closed it, others flush it


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``mcp``; returns the exit status."""
    return run_command(command, arguments, variables or os.environ)
