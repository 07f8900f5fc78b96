"""A link on which nothing moves: what comes stays in the system's buffers, until these are full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaurien.engine.relay.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from vaurien.engine.filters.filter import Filter
    from vaurien.engine.relay.link import Link


class PausedLink:
    """*link* reads and writes nothing, because the stages *by* say so, until `end`."""

    __slots__ = ("_by", "_link", "_told")

    def __init__(self, link: Link, by: list[Filter]) -> None:
        self._link, self._by = link, by
        self._told = False
        if link.pending is None:
            link.pending = WriteBuffer(link)
        else:
            link.pending.hold()

    def go_on(self, by: list[Filter]) -> None:
        """Other stages say so now."""
        self._by, self._told = by, False

    @property
    def wanted(self) -> bool:
        """Whether it matters that there is something to read: once, for who counts what is held back."""
        return not self._told

    def tell(self) -> None:
        """Bytes are here, or the end: they stay where they are."""
        self._told = True
        for stage in self._by:
            stage.holds_back()

    def end(self) -> None:
        """Everything goes on; a reset of the destination that was passed over meanwhile is told again."""
        link = self._link
        if link.pending is None:
            return
        if link.pending.size:
            link.pending.watch()
        else:
            link.taken()
        if not link.closed:
            link.connection.link(not link.to_backend).look_again()
