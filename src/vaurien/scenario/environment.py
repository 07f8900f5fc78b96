"""How a command learns where the proxies are: variables of its environment.

``VAURIEN_ADDRESS`` (``host:port``), ``VAURIEN_HOST`` and ``VAURIEN_PORT`` are about the only proxy, or the first one;
with the proxy's name behind them, as in ``VAURIEN_ADDRESS_CACHE``, about that one. Variables of the scenario's own have
``{NAME}``, ``{NAME.host}`` and ``{NAME.port}`` replaced. ``VAURIEN_URL`` is the HTTP interface, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from vaurien.config import Given
from vaurien.errors import OptionError
from vaurien.model import Address

_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def variables(proxies: Mapping[str, Address], own: Mapping[str, Given]) -> dict[str, str]:
    """The variables that say where *proxies*, by name, listen, and the scenario's *own*.

    Raises `OptionError` for one of these that asks for a proxy that there is not.
    """
    reached = {name: reachable(address) for name, address in proxies.items()}
    found = {name: value for address in [*reached.values()][:1] for name, value in _about(address, "")}
    for name, address in reached.items():
        found |= _about(address, "_" + re.sub(r"\W", "_", name).upper())
    return found | {name: _filled(name, given, reached) for name, given in own.items()}


def interface(address: Address) -> dict[str, str]:
    """The variable by which ``vaurienctl`` finds the HTTP interface at *address*; none for a Unix socket."""
    return {} if address.path is not None else {"VAURIEN_URL": f"http://{reachable(address)}"}


def reachable(address: Address) -> Address:
    """Where *address* is reached from this machine."""
    return msgspec.structs.replace(address, host=_ANYWHERE.get(address.host, address.host))


def _about(address: Address, suffix: str) -> Iterator[tuple[str, str]]:
    yield f"VAURIEN_ADDRESS{suffix}", str(address)
    if address.path is None:
        yield f"VAURIEN_HOST{suffix}", address.host
        yield f"VAURIEN_PORT{suffix}", str(address.port)


def _filled(name: str, given: Given, proxies: Mapping[str, Address]) -> str:
    try:
        return str(given.value).format_map(proxies)
    except (KeyError, IndexError, ValueError, AttributeError):
        known = " or ".join(f"{{{proxy}}}" for proxy in proxies)
        wanted = f"text with {known}, .host or .port inside the braces, and {{{{ for a brace"
        raise OptionError(f"environment {name}", given.value, wanted, given.source) from None
