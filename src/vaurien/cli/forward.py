"""``vaurien forward``: a forward proxy, for programs that are told of it by ``HTTP_PROXY`` and its like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vaurien.cli import main as vaurien
from vaurien.cli.configure import HELP, OK
from vaurien.config import Configuration, Given, Layer
from vaurien.errors import OptionError, VaurienError

USAGE = """Usage: vaurien forward [--listen ADDRESS] [OPTIONS]

  A forward proxy: HTTP (CONNECT and absolute URIs), SOCKS5 and SOCKS4a on one port. Programs are told of it by
  HTTP_PROXY, HTTPS_PROXY and ALL_PROXY. OPTIONS are those of vaurien; the backend is the one that the client names.

    --listen ADDRESS            where it listens [default: localhost:3128]
    --backend forward?ca=FILE   which authorities the certificates of servers are from, where TLS is opened (--tls auto)
    --upstream-proxy ADDRESS    the HTTP proxy that is asked for all servers

  What a file (--config) or the environment says comes before these defaults, and the command line before both. A file
  may have several proxies, each with backend = "forward".

  Faults match the server by match.host and match.port, besides everything else. The protocol is http if nothing else is
  said. TLS of the clients passes through, where faults of TLS act on it.

  For example:
    vaurien forward --fault 'http_status status=503 match.host=api.test probability=0.2'
    HTTP_PROXY=http://localhost:3128 curl http://api.test/
"""

LISTEN = "localhost:3128"
"""Where it listens if nothing is said: the port that squid has made usual."""

DEFAULTS: Layer = {
    ("vaurien", name): Given(value, "default of vaurien forward")
    for name, value in {"proxy": LISTEN, "backend": "forward", "protocol": "http"}.items()
}
"""What a file, the environment and the command line leave open."""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``forward``; returns the exit status."""
    if HELP.intersection(arguments):
        print(USAGE, end="")
        return OK
    words = ["--proxy" + word.removeprefix("--listen") if _is_listen(word) else word for word in arguments]
    try:
        return vaurien.run(words, variables, DEFAULTS, _check)
    except VaurienError as error:  # about --proxy, where the user has typed --listen
        if words == list(arguments):
            raise
        told = str(error).replace("option proxy", "option listen").replace("(from --proxy)", "(from --listen)")
        raise VaurienError(re.sub("^--proxy:", "--listen:", told)) from None


def _check(configuration: Configuration) -> None:
    """Raise `OptionError` for a proxy whose clients do not name the server."""
    for proxy in configuration.proxies:
        if not proxy.backend.forward:
            section = f"proxy {proxy.name}"
            named = {setting.section for setting in configuration.settings}
            source = configuration.source(section if section in named else "vaurien", "backend")
            expected = "forward, or forward?ca=FILE: clients of vaurien forward name the server"
            raise OptionError("option backend", str(proxy.backend), expected, source)


def _is_listen(word: str) -> bool:
    return word == "--listen" or word.startswith("--listen=")
