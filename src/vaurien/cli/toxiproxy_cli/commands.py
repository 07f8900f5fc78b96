"""What each command of ``toxiproxy-cli`` does and prints: columns between tabs, with colour on a terminal."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from vaurien.cli.toxiproxy_cli.api import Api, ApiError
from vaurien.observers.go_number import go_number

RED, GREEN, YELLOW, BLUE, PURPLE, NONE = (f"\x1b[{code}m" for code in (31, 32, 33, 34, 35, 0))

Values: TypeAlias = Mapping[str, Any]
"""The flags of a command by their long names."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class CommandFailed(Exception):
    """The command did not do what it should; with *usage* its help belongs before the message."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        self.usage = usage
        super().__init__(message)


def show_all(api: Api, _values: Values, _names: Sequence[str]) -> None:
    """List the proxies."""
    try:
        proxies = api.proxies()
    except ApiError as error:
        raise CommandFailed(f"Failed to retrieve proxies: {error}") from None
    terminal = sys.stdout.isatty()
    if terminal:
        heads = zip(
            (GREEN, BLUE, YELLOW, PURPLE, RED), ("Name", "Listen", "Upstream", "Enabled", "Toxics"), strict=True
        )
        tabs = ("\t\t\t", "\t\t", "\t\t", "\t\t", "\n")
        print("".join(f"{colour}{head}{tab}" for (colour, head), tab in zip(heads, tabs, strict=True)) + NONE, end="")
        print("=" * 86)
        if not proxies:
            print(f"{RED}no proxies")
            _hint("create a proxy with `toxiproxy-cli create`")
            return
    for name in sorted(proxies):
        proxy = proxies[name]
        count = str(len(proxy["toxics"]))
        cells = [
            (GREEN if proxy["enabled"] else RED, str(proxy["name"]), 3),
            (BLUE, str(proxy["listen"]), 2),
            (YELLOW, str(proxy["upstream"]), 3),
            (PURPLE, _enabled(proxy["enabled"]), 2),
        ]
        row = "".join(_cell(colour, text, width, terminal) for colour, text, width in cells)
        print(row + _coloured(RED, "None" if terminal and count == "0" else count, terminal))
    _hint("inspect toxics with `toxiproxy-cli inspect <proxyName>`")


def inspect(api: Api, _values: Values, names: Sequence[str]) -> None:
    """Show one proxy with its toxics."""
    name = _proxy_name(names)
    proxy = _retrieved(api, name)
    toxics = proxy["toxics"]
    if not sys.stdout.isatty():
        for toxic in toxics:
            print(_line(toxic, terminal=False))
        return
    ends = ((PURPLE, "Name", "name", "\t"), (BLUE, "Listen", "listen", "\t"), (YELLOW, "Upstream", "upstream", "\n"))
    print("".join(f"{colour}{head}: {NONE}{proxy[field]}{tab}" for colour, head, field, tab in ends), end="")
    print("=" * 70)
    if not toxics:
        print(f"{RED}Proxy has no toxics enabled.{NONE}")
    else:
        upstream = [toxic for toxic in toxics if str(toxic["stream"]).lower() == "upstream"]
        downstream = [toxic for toxic in toxics if toxic not in upstream]
        for head, some in (("Upstream", upstream), ("Downstream", downstream)):
            print(f"{GREEN}{head} toxics:{NONE}")
            if not some:
                print(f"{RED}Proxy has no {head} toxics enabled.{NONE}")
            for toxic in some:
                print(_line(toxic, terminal=True))
            if head == "Upstream":
                print()
    _hint("add a toxic with `toxiproxy-cli toxic add`")


def create(api: Api, values: Values, names: Sequence[str]) -> None:
    """Create a proxy."""
    name = _proxy_name(names)
    listen, upstream = _required(values, "listen"), _required(values, "upstream")
    try:
        api.create(name, listen, upstream)
    except ApiError as error:
        raise CommandFailed(f"Failed to create proxy: create: {error}") from None
    print(f"Created new proxy {name}")


def toggle(api: Api, _values: Values, names: Sequence[str]) -> None:
    """Disable a proxy that is enabled, and the other way round."""
    name = _proxy_name(names)
    enabled = not _retrieved(api, name)["enabled"]
    try:
        api.enable(name, enabled)
    except ApiError as error:
        raise CommandFailed(f"Failed to toggle proxy {name}: {error}") from None
    colour, terminal = GREEN if enabled else RED, sys.stdout.isatty()
    print(f"Proxy {_coloured(colour, name, terminal)} is now {_coloured(colour, _enabled(enabled), terminal)}")


def delete(api: Api, _values: Values, names: Sequence[str]) -> None:
    """Delete a proxy."""
    name = _proxy_name(names)
    _retrieved(api, name)
    try:
        api.delete(name)
    except ApiError as error:
        raise CommandFailed(f"Failed to delete proxy: Delete: {error}") from None
    print(f"Deleted proxy {name}")


def add_toxic(api: Api, values: Values, names: Sequence[str]) -> None:
    """Add a toxic to a proxy."""
    proxy = _proxy_name(names, "Proxy name is missing.")
    toxic: dict[str, Any] = {"name": values["toxicName"], "type": _required(values, "type")}
    if values["upstream"] and values["downstream"]:
        raise CommandFailed("Only one should be specified: upstream or downstream.")
    toxic["stream"] = "upstream" if values["upstream"] else "downstream"
    toxic |= {"toxicity": _toxicity(values, default=1.0), "attributes": _attributes(values)}
    _retrieved(api, proxy, f"Failed to add toxic: failed to retrieve proxy with name `{proxy}`")
    try:
        added = api.add_toxic(proxy, toxic)
    except ApiError as error:
        raise CommandFailed(f"Failed to add toxic: failed to add toxic to proxy {proxy}: AddToxic: {error}") from None
    print(f"Added {added['stream']} {added['type']} toxic '{added['name']}' on proxy '{proxy}'")


def update_toxic(api: Api, values: Values, names: Sequence[str]) -> None:
    """Change a toxic. Without a toxicity it keeps the one that it has; Toxiproxy's command makes it 1."""
    proxy = _proxy_name(names, "Proxy name is missing.")
    toxicity = _toxicity(values, default=None)
    changes = {"attributes": _attributes(values), **({} if toxicity is None else {"toxicity": toxicity})}
    _retrieved(api, proxy, f"Failed to update toxic: failed to retrieve proxy with name `{proxy}`")
    name = values["toxicName"]
    try:
        updated = api.update_toxic(proxy, name, changes)
    except ApiError as error:
        where = f"failed to update toxic '{name}' of proxy '{proxy}'"
        raise CommandFailed(f"Failed to update toxic: {where}: {error}") from None
    print(f"Updated toxic '{updated['name']}' on proxy '{proxy}'")


def remove_toxic(api: Api, values: Values, names: Sequence[str]) -> None:
    """Remove a toxic from a proxy."""
    proxy = _proxy_name(names, "Proxy name is missing.")
    _retrieved(api, proxy, f"Failed to remove toxic: failed to retrieve proxy with name `{proxy}`")
    name = values["toxicName"]
    try:
        api.remove_toxic(proxy, name)
    except ApiError as error:
        where = f"failed to remove toxic '{name}' from proxy '{proxy}'"
        raise CommandFailed(f"Failed to remove toxic: {where}: {error}") from None
    print(f"Removed toxic '{name}' on proxy '{proxy}'")


# Arguments.


def _proxy_name(names: Sequence[str], complaint: str = "Proxy name is required as the first argument.") -> str:
    if not names or not names[0]:
        raise CommandFailed(complaint, usage=True)
    return names[0]


def _required(values: Values, flag: str) -> str:
    if not values[flag]:
        raise CommandFailed(f"Required argument '{flag}' was empty.", usage=True)
    return str(values[flag])


def _toxicity(values: Values, default: float | None) -> float | None:
    text = values["toxicity"]
    if not text:
        return default
    if not _NUMBER.fullmatch(text) or not 0 <= float(text) <= 1:
        raise CommandFailed("toxicity should be a float between 0 and 1.")
    return float(text)


def _attributes(values: Values) -> dict[str, Any]:
    """Numbers are sent as such, whole ones without a point; what has no equals sign is passed over."""
    pairs = [part.partition("=") for text in values["attribute"] for part in text.split(",")]
    return {name: _number_or_text(value) for name, equals, value in pairs if equals}


def _number_or_text(text: str) -> float | int | str:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        return text
    number = float(text)
    return int(number) if number.is_integer() else number


def _retrieved(api: Api, name: str, complaint: str | None = None) -> dict[str, Any]:
    try:
        return api.proxy(name)
    except ApiError as error:
        raise CommandFailed(f"{complaint or f'Failed to retrieve proxy {name}'}: {error}") from None


# Text.


def _line(toxic: Mapping[str, Any], *, terminal: bool) -> str:
    name = f"{BLUE}{toxic['name']}:{NONE}" if terminal else toxic["name"]
    attributes = "".join(f"\t{key}={_printed(value)}" for key, value in sorted(toxic["attributes"].items()))
    facts = f"type={toxic['type']}\tstream={toxic['stream']}\ttoxicity={toxic['toxicity']:.2f}"
    return f"{name}\t{facts}\tattributes=[{attributes}\t]"


def _printed(value: Any) -> str:
    """*value* as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    return go_number(value, exponent_from=21) if isinstance(value, int | float) else str(value)


def _enabled(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _cell(colour: str, text: str, width: int, terminal: bool) -> str:
    """*text* in a column of *width* tab stops, of eight characters each; in a pipe one tab ends it."""
    return _coloured(colour, text, terminal) + "\t" * (max(width - len(text) // 8, 1) if terminal else 1)


def _coloured(colour: str, text: str, terminal: bool) -> str:
    return f"{colour}{text}{NONE}" if terminal else text


def _hint(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\n{NONE}Hint: {text}")
