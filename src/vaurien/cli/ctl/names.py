"""What may stand on a command line, as the running server has it: for completion in a shell.

A server has some seconds to answer. Where nothing answers there is nothing to offer, and no message: the command itself
gives that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from vaurien.cli.ctl import finding
from vaurien.client import Client, Refused, Unreachable
from vaurien.client.plain import endpoint

_PATIENCE = 5.0

Find = Callable[[Client, click.Context], Iterable[str]]


class Names:
    """Offers the names that *find* gets from the server which the command line, or the environment, names."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def __call__(self, context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        """Those of them that begin with what is *typed*."""
        try:
            names = list(self._find(_client(context), context))
        except (Refused, Unreachable, OSError, ValueError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(typed)]


def _client(context: click.Context) -> Client:
    given = context.find_root().params
    token_file = given.get("token_file") or os.environ.get("VAURIEN_TOKEN_FILE")
    token = None
    if isinstance(token_file, str):
        with open(token_file, encoding="utf-8") as file:
            token = file.read().strip()
    elif token_file is not None:
        token = token_file.read().strip()
    url = finding.find(given.get("host") or os.environ.get("VAURIEN_URL"))
    return Client(**endpoint(url), token=token, timeout=_PATIENCE)


def _proxies(client: Client, _: click.Context) -> Iterable[str]:
    return (one["name"] for one in client.list_proxies())


def _faults(client: Client, context: click.Context) -> Iterable[str]:
    return (one["name"] for one in client.list_faults(context.params["proxy"]))


def _behaviors(client: Client, _: click.Context) -> Iterable[str]:
    return (one["name"] for one in client.describe_behaviors())


def _protocols(client: Client, _: click.Context) -> Iterable[str]:
    return (one["name"] for one in client.describe_protocols())


def _options(client: Client, behavior: str, given: Sequence[str]) -> Iterable[str]:
    known: dict[str, Any] = client.describe_behavior(behavior)["options"].get("properties", {})
    begun = {option.partition("=")[0] for option in given}
    return (f"{name}=" for name in known if name not in begun)


def _options_of_behavior(client: Client, context: click.Context) -> Iterable[str]:
    return _options(client, context.params["behavior"], context.params.get("options") or ())


def _options_of_fault(client: Client, context: click.Context) -> Iterable[str]:
    fault = client.get_fault(context.params["proxy"], context.params["name"])
    return _options(client, fault["behavior"], context.params.get("options") or ())


proxies, behaviors, protocols = Names(_proxies), Names(_behaviors), Names(_protocols)
faults_of_proxy = Names(_faults)
options_of_behavior, options_of_fault = Names(_options_of_behavior), Names(_options_of_fault)

a_proxy = click.argument("proxy", shell_complete=proxies)
"""The argument that names a proxy."""
