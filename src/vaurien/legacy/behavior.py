"""The base class of legacy behaviors, which know it as ``vaurien.behaviors.dummy.Dummy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaurien.legacy.configurable import Configurable

if TYPE_CHECKING:
    import socket


class Dummy(Configurable):
    """Transparent: every hook says "go on". Subclasses override what they need.

    All hooks run in the connection's thread and may block. *source* and *dest* are the real sockets; *to_backend* is
    true when *source* is the client's; *protocol* is the instance that moves the bytes.
    """

    name = "dummy"

    def on_before_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        """*source* can be read and nothing was read yet. False: the hook has handled it, nothing is to be forwarded."""
        return True

    def on_between_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        """The request was sent to *dest*, the answer is not read yet. False: it is not to be read."""
        return True

    def on_after_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        """The call is over, however it ended. What is returned does not matter."""
        return True
