"""Protocols: one file or package each; its name is the protocol's name.

A protocol is two things. Its framer (`vaurien.framing`) says where messages start and end, and what of them a match may
ask. Its class has the options, and the words of its errors::

    smtp.py                    a protocol in one file
    redis/                     a protocol of several files
      __init__.py                re-exports the class and the framer
      protocol.py                the class: options, fields, `error_reply`
      framer.py                  both directions: which request does a reply answer?
      command.py, reply.py       what one message looks like; no state

Three rules hold for all framers. State follows the backend's answer, never the client's wish: what is refused leaves
the connection as it was. Limits are those of the servers, and named in the code. What a framer does not understand is
passed on unmarked, with one event that says why; it is never an error of the client.
"""

from __future__ import annotations

from typing import Any, TypeVar

from vaurien import framing, plugins

T = TypeVar("T")


class Protocol(framing.Protocol, frozen=True):
    """The base class of protocols, and the registry of them, as legacy plugins know it."""

    @classmethod
    def register(cls, target: T) -> T:
        """Make the class *target* known under its ``name``. Returns it, so this is a decorator too.

        It may derive from this class or be a legacy protocol. Raises `PluginError` when it is neither.
        """
        plugins.register("protocol", target)
        return target


def get_protocols() -> dict[str, Any]:
    """All protocols that are known, by name. They are classes: instances belong to a proxy."""
    return {name: get_protocol(name) for name in plugins.names("protocol")}


def get_protocol(name: str) -> Any:
    """The protocol's class called *name*. Raises `UnknownName`."""
    return plugins.find(name, "protocol").target
