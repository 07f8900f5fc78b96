"""Whether proxies come from the state file or from the configuration, where there are both.

The state file remembers the configuration that it began with, so three things are known::

    configured then   what the command line, files and variables said when the file was made
    kept              what became of it, by live changes
    configured now    what they say at this start

Where only one side has changed since, that side is taken: a restart keeps live changes, and an edited file counts.
Where both have, and differ, each answer would lose something: the start is refused, unless it was told which one wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from vaurien.config import Configuration, declared
from vaurien.config.assemble import DEFAULT, DRAWN
from vaurien.console import counted
from vaurien.errors import ConfigError
from vaurien.model import Fault, Policy, ProxyConfig

Winner: TypeAlias = Literal["state", "config"]

_OF_PROGRAM = declared.of_program()

DRAWN_SEED = ""
"""The seed of a proxy whose seed is drawn at each start."""

_SHOWN = 3
"""Differences that are named."""


class Choice(msgspec.Struct, frozen=True):
    """The *proxies* to have, and in *why* where they come from."""

    proxies: Sequence[ProxyConfig]
    why: str


def winner(file: str | None, *, state: bool, config: bool) -> Winner | None:
    """What is to win where the state *file* and the configuration contradict each other, if something was named.

    Raises `ConfigError` when both were, or one without a file.
    """
    if state and config:
        raise ConfigError("state-wins and config-wins are both given; expected one of them, or none")
    if (state or config) and not file:
        raise ConfigError(f"{'state' if state else 'config'}-wins: expected a state file beside it (--state FILE)")
    return "state" if state else "config" if config else None


def configured(configuration: Configuration) -> list[ProxyConfig] | None:
    """The proxies that *configuration* asks for; ``None`` if nothing in it is about proxies."""
    ours = [one for one in configuration.settings if (one.section, one.name) not in _OF_PROGRAM]
    if all(one.source in (DEFAULT, DRAWN) for one in ours):
        return None
    if configuration.source("vaurien", "seed") != DRAWN:
        return list(configuration.proxies)
    return [without_seed(one) for one in configuration.proxies]


def without_seed(config: ProxyConfig) -> ProxyConfig:
    """*config*, whose seed was drawn."""
    return msgspec.structs.replace(config, seed=DRAWN_SEED)


def choose(
    path: str,
    kept: Sequence[ProxyConfig],
    then: Sequence[ProxyConfig] | None,
    now: Sequence[ProxyConfig] | None,
    winner: Winner | None,
) -> Choice:
    """Choose between *kept*, the proxies of the state file *path*, and those that are configured.

    ``None`` stands for a configuration that says nothing about proxies, or that is not known. Raises `ConfigError` when
    the two differ and neither is newer.
    """
    file = f"state file {path!r}"
    if now is None:
        return Choice(kept, f"{_count(kept)} from {file}")
    differences = list(_differences(kept, now))
    shown = "; ".join(differences[:_SHOWN]) + ("; …" if len(differences) > _SHOWN else "")
    if not differences:
        return Choice(kept, f"{_count(kept)} from {file}, as configured")
    if winner == "state":
        return Choice(kept, f"{_count(kept)} from {file}, which wins: {shown}")
    if winner == "config":
        return Choice(now, f"{_count(now)} as configured, which wins over {file}: {shown}")
    if then is not None and not list(_differences(then, now)):
        return Choice(kept, f"{_count(kept)} from {file}, with the changes made live: {shown}")
    if then is not None and not list(_differences(kept, then)):
        return Choice(now, f"{_count(now)} as configured now; {file} had no live change: {shown}")
    raise ConfigError(f"{file} and the configuration differ: {shown}; expected --state-wins or --config-wins")


def _count(proxies: Sequence[ProxyConfig]) -> str:
    return counted(len(proxies), "proxy", "proxies")


def _differences(kept: Sequence[ProxyConfig], configured: Sequence[ProxyConfig]) -> Iterable[str]:
    """In which settings *kept* is not what *configured* asks for."""
    ours, theirs = ({one.name: one for one in proxies} for proxies in (kept, configured))
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            yield f"proxy {name!r} is in the file alone"
        elif name not in ours:
            yield f"proxy {name!r} is configured alone"
        else:
            yield from _different_settings(ours[name], theirs[name])


def _different_settings(kept: ProxyConfig, configured: ProxyConfig) -> Iterable[str]:
    if DRAWN_SEED in (configured.seed, kept.seed):
        kept = msgspec.structs.replace(kept, seed=configured.seed)
    if configured.listen == msgspec.structs.replace(kept.listen, port=0):  # the system chose the port
        kept = msgspec.structs.replace(kept, listen=configured.listen)
    for field in ProxyConfig.__struct_fields__:
        ours, theirs = getattr(kept, field), getattr(configured, field)
        if _plain(ours) != _plain(theirs):
            yield f"proxy {kept.name!r} {field}: {_shown(ours)} in the file, {_shown(theirs)} configured"


def _plain(value: object) -> object:
    """*value* as the file has it, where a tuple is a list and an enumeration its text."""
    return msgspec.to_builtins(value)


def _shown(value: Any) -> str:
    if isinstance(value, Policy):
        faults = ", ".join(_fault(fault) for fault in value.faults)
        return f"[{value.mix}{'; ' if faults and value.mix.shares else ''}{faults}]"
    return str(value)


def _fault(fault: Fault) -> str:
    options = " ".join(f"{name}={value}" for name, value in fault.options.items())
    return f"{fault.name} {options}".rstrip()
