"""Why a fault did not hit: what it has seen, and what kept it from acting. It answers "why did nothing happen?"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

SAMPLES = 5
"""Different values of a field, or clients, that are remembered; each is cut to `LONGEST` characters."""

LONGEST = 80


class NearMisses(msgspec.Struct):
    """What one fault has seen since it was set.

    Of its *connections*, *other_clients* are not meant by its match. Of those that are, clients *without_tls* spoke
    none where they had to, *handshakes_failed* ended in their TLS handshake, and *undialled* ones came to no backend.
    Of the exchanges, *unmatched* are not meant. Of its occasions, *outside_window* fell out of its window, and *spared*
    were not drawn. *seen* has some values of the fields that its match asks about, ``client`` too. Threads of legacy
    plugins count here without a lock, so figures may be off by a few.
    """

    connections: int = 0
    other_clients: int = 0
    without_tls: int = 0
    handshakes_failed: int = 0
    undialled: int = 0
    unmatched: int = 0
    outside_window: int = 0
    spared: int = 0
    seen: dict[str, list[str]] = {}

    def note(self, fields: Mapping[str, str], names: Iterable[str]) -> None:
        """Remember the values that *fields* has for *names*, up to `SAMPLES` of each."""
        for name in names:
            values = self.seen.setdefault(name, [])
            if len(values) < SAMPLES and (value := fields.get(name, "")[:LONGEST]) not in values:
                values.append(value)

    def __add__(self, other: NearMisses) -> NearMisses:
        seen = {name: list(values) for name, values in self.seen.items()}
        for name, values in other.seen.items():
            seen[name] = list(dict.fromkeys([*seen.get(name, []), *values]))[:SAMPLES]
        return NearMisses(
            self.connections + other.connections,
            self.other_clients + other.other_clients,
            self.without_tls + other.without_tls,
            self.handshakes_failed + other.handshakes_failed,
            self.undialled + other.undialled,
            self.unmatched + other.unmatched,
            self.outside_window + other.outside_window,
            self.spared + other.spared,
            seen,
        )
