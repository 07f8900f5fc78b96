"""``vaurien check FILE``: everything that a start with this file would refuse, without starting."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence

from vaurien.cli.configure import BAD_INPUT, HELP, OK, configure, fail
from vaurien.config import Configuration
from vaurien.engine.net import binding
from vaurien.errors import BindError, VaurienError
from vaurien.model import Address

USAGE = """Usage: vaurien check FILE [OPTIONS] [--json]

  Say what a start with FILE, and the OPTIONS of vaurien, would refuse: values, names, plugins, faults that a proxy
  cannot have, addresses that are in use, files that cannot be read or written. Nothing is started or changed.

  Exit status: 0 when a start would succeed, 2 when not; each reason is a line on standard error.

  For example: vaurien check chaos.toml
               vaurien check chaos.toml --behavior 20:error --json
"""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Check with *arguments*, those behind ``check``; returns the exit status."""
    words = [word for word in arguments if word != "--json"]
    as_json = len(words) < len(arguments)
    if HELP.intersection(words):
        print(USAGE, end="")
        return OK
    if not words or words[0].startswith("-"):
        raise VaurienError("check: expected a file first, such as: vaurien check chaos.toml")
    try:
        configuration, _ = configure(words[1:], variables, file=words[0])
    except VaurienError as error:
        return _tell([str(error)], "", as_json)
    problems = [*_files(configuration), *asyncio.run(_addresses(configuration))]
    return _tell(problems, _summary(words[0], configuration), as_json)


def _tell(problems: list[str], summary: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": not problems, "problems": problems}))
    else:
        for problem in problems:
            fail(problem)
        if not problems:
            print(summary)
    return BAD_INPUT if problems else OK


def _summary(path: str, configuration: Configuration) -> str:
    faults = sum(len(proxy.policy.faults) for proxy in configuration.proxies)
    counts = {"proxy": len(configuration.proxies), "fault": faults, "step": len(configuration.schedule.steps)}
    plurals = {"proxy": "proxies", "fault": "faults", "step": "steps"}
    return f"{path}: ok, {', '.join(f'{n} {name if n == 1 else plurals[name]}' for name, n in counts.items())}"


def _files(configuration: Configuration) -> Iterator[str]:
    """What is wrong with the files that a start reads or writes."""
    process, http = configuration.process, configuration.http
    written = {"log_output": process.log_output if process.log_output != "-" else None, "trace": process.trace}
    written["state"] = process.state
    for name, path in written.items():
        if path is not None and not _writable(path):
            source = configuration.source("vaurien", name)
            yield f"option {name}: {path!r} (from {source}) cannot be written; expected a file in a folder that can be"
    if http.token_file is not None and not os.access(http.token_file, os.R_OK):
        source = configuration.source("vaurien", "token_file")
        yield f"option token_file: {http.token_file!r} (from {source}) cannot be read; expected a file with a token"


def _writable(path: str) -> bool:
    place = path if os.path.exists(path) else os.path.dirname(path) or "."
    return os.access(place, os.W_OK) and not os.path.isdir(path)


async def _addresses(configuration: Configuration) -> list[str]:
    """What is wrong with the addresses that a start listens on: each is bound for a moment."""
    wanted = [
        (f"proxy {proxy.name!r}", proxy.listen, proxy.backlog) for proxy in configuration.proxies if proxy.enabled
    ]
    http = configuration.http
    if http.api:
        wanted.append(("the HTTP interface", Address.parse(http.api), 1))
    elif http.http:
        wanted.append(("the HTTP interface", Address(http.http_host, http.http_port), 1))
    problems: list[str] = []
    bound: list[socket.socket] = []
    for owner, address, backlog in wanted:
        try:
            bound += await binding.bind(address, backlog)
        except BindError as error:
            problems.append(f"{owner}: {error}")
        else:
            binding.unlink(address)
    binding.close(bound)
    return problems
