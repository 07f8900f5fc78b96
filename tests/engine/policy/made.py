"""Policies ready to run, for unit tests."""

from __future__ import annotations

from vaurien import plugins
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.framing import Protocol
from vaurien.model import Fault, Mix, Policy


def compiled(mix: str, *faults: Fault, protocol: Protocol | None = None) -> CompiledPolicy:
    """The policy of *mix* and *faults*, without legacy plugins."""

    def refuse(plugin: plugins.Plugin, options: object) -> None:
        raise AssertionError(f"{plugin.name} is a legacy plugin")

    return CompiledPolicy(Policy(Mix.parse(mix), faults), protocol or Protocol(), refuse)
