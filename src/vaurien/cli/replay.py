"""``vaurien replay TRACE``: run proxies again, with the decisions of a trace in place of chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from vaurien.cli.configure import HELP, OK, configure, say
from vaurien.config import Configuration, Given, Key, declared, environment
from vaurien.config.fault import text
from vaurien.console import counted
from vaurien.errors import OptionError, VaurienError
from vaurien.model import ProxyConfig
from vaurien.observers.trace import Recording, read

USAGE = """Usage: vaurien replay TRACE [OPTIONS]

  Run proxies as vaurien does, with the decisions that an earlier run wrote down with --trace FILE: the same faults hit
  the same connections and exchanges, in their order, whatever the seed. OPTIONS are those of vaurien.

  The proxies and their faults are those of the trace. With --config, or options that describe a proxy, they are the
  ones that you describe, and are to be those of the earlier run. Without --seed, what a fault draws for itself (how
  long, which byte) is as it was, too.

  For example: vaurien replay trace.jsonl
               vaurien replay trace.jsonl --config chaos.ini
"""

_OF_PROXIES = frozenset(
    {*declared.TrafficSection.__struct_fields__, *declared.FaultsSection.__struct_fields__} - {"seed"}
)
"""Options that describe a proxy, or its faults."""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``replay``; returns the exit status."""
    if HELP.intersection(arguments):
        print(USAGE, end="")
        return OK
    if not arguments or arguments[0].startswith("-"):
        raise VaurienError(
            "replay: expected a trace's file first, such as: vaurien replay trace.jsonl --config chaos.ini"
        )
    from vaurien.cli import hubs, runner
    from vaurien.engine.policy.replay import ReplayedDecisions

    path = arguments[0]
    recording = read(path)
    if recording.lost:
        lines = "1 line is" if recording.lost == 1 else f"{recording.lost} lines are"
        say(f"warning: {lines} missing in {path}: from there on the faults may hit other exchanges than in that run")
    configuration, given = configure(["--seed", recording.seed, *arguments[1:]], variables)
    if recording.proxies and not _describes_proxies(given, variables):
        seed = configuration.proxies[0].seed
        proxies = tuple(msgspec.structs.replace(config, seed=seed) for config in recording.proxies)
        configuration = msgspec.structs.replace(configuration, proxies=proxies)
    hubs.refuse_workers(configuration, "vaurien replay", "which worker has a connection cannot be repeated")
    if configuration.process.trace == path:
        source = configuration.source("vaurien", "trace")
        raise OptionError("option trace", path, "another file than the one that is replayed", source)
    decisions = {
        config.name: ReplayedDecisions(recording.decisions.get(config.name, ()), _UsedUp(path, config.name))
        for config in configuration.proxies
    }
    total = sum(len(found) for found in recording.decisions.values())
    say(f"replaying {path}: {counted(total, 'decision')} of {counted(len(recording.decisions), 'proxy', 'proxies')}")
    for difference in differences(recording, configuration):
        say(f"warning: {path} does not fit: {difference}")
    runner.run(configuration, recorded=decisions)
    say(f"replayed {sum(one.taken for one in decisions.values())} of {counted(total, 'decision')}")
    return OK


def _describes_proxies(given: Mapping[Key, Given], variables: Mapping[str, str]) -> bool:
    """Whether the user describes proxies, rather than the trace."""
    keys = {*given, *environment.own(variables)}
    from_file = ("command", "config") in keys or environment.CONFIG in variables
    return from_file or any(section == "vaurien" and name in _OF_PROXIES for section, name in keys)


class _UsedUp:
    """Says, once for a proxy, that the trace has no more decisions for a connection."""

    def __init__(self, path: str, proxy: str) -> None:
        self._path, self._proxy = path, proxy

    def __call__(self, connection: int, fault: str) -> None:
        what = "the mix" if fault == "mix" else f"fault {fault!r}"
        say(
            f"warning: {self._path} is used up: connection {connection} of proxy {self._proxy!r} asks for a decision "
            f"about {what} that the earlier run did not make; such a decision is never a hit"
        )


def differences(recording: Recording, configuration: Configuration) -> Iterator[str]:
    """What tells *configuration* from the run of *recording*: the first difference of each proxy."""
    proxies = {config.name: config for config in configuration.proxies}
    before = {config.name: config for config in recording.proxies}
    for name, decisions in recording.decisions.items():
        config = proxies.get(name)
        if config is None:
            known = ", ".join(repr(one) for one in proxies)
            yield f"its proxy {name!r} is not there; there is {known}"
            continue
        has = {fault.name for fault in config.policy.faults} | ({"mix"} if config.policy.mix.shares else set())
        missing = next((fault for _, fault, _ in decisions if fault not in has), None)
        if missing is not None:
            what = "a mix" if missing == "mix" else f"the fault {missing!r}"
            yield f"proxy {name!r} had {what}, and has not now"
            continue
        old = before.get(name)
        if old is not None and old.policy != config.policy:
            yield f"the faults of proxy {name!r} are other ones: {_first_difference(old, config)}"


def _first_difference(old: ProxyConfig, new: ProxyConfig) -> str:
    if str(old.policy.mix) != str(new.policy.mix):
        return f"the mix was {str(old.policy.mix)!r}, it is {str(new.policy.mix)!r}"
    for one, other in zip(old.policy.faults, new.policy.faults, strict=False):
        if one != other:
            return f"{text(one)!r} was there, where {text(other)!r} is now"
    return f"there were {len(old.policy.faults)}, there are {len(new.policy.faults)}"
