"""A control: after the experiment, however it ends, no fault of it is left."""

from __future__ import annotations

from typing import Any

from chaosvaurien import Configuration, Secrets, client

__all__ = ["after_experiment_control"]


def after_experiment_control(
    context: Any,
    state: Any,
    configuration: Configuration = None,
    secrets: Secrets = None,
    proxies: list[str] | None = None,
    **_: Any,
) -> None:
    """Take all faults and mixes of *proxies* away, by default of all of them.

    Called by the Toolkit, which goes on when this fails; a fault with a ``ttl`` ends without it.
    """
    del context, state  # what all controls are given
    with client(configuration, secrets) as vaurien:
        for proxy in vaurien.list_proxies():
            if proxies is None or proxy["name"] in proxies:
                vaurien.change_proxy(proxy["name"], mix="", faults=[])
