"""The states of a connection, and what each event does in each of them.

::

         accepted    TLS_EXPECTED
            │    ┌───────────────────► HANDSHAKING
            ▼    │                         │                        END of one side
        CONNECTING ◄───── CLIENT_SHAKEN ───┘                          ┌───────┐
                 └─────────────────────┬──────────────────────► RELAYING ◄────┘
                         DIALLED       │                       ▲   │  │
        RECONNECTING ──────────────────┘            THREAD_DONE│   │  │BACKEND_LOST
            ▲                                                  │   ▼  │
            │ NEED_BACKEND                              IN_THREAD     │
        WITHOUT_BACKEND ◄──────────────────────────────────┴──────────┘

        RELAYING ── REQUEST_ANSWERED ───────────────────────────────────────────► CONNECTING
        RELAYING ── LAST_END, BACKEND_SPARED ───────────────────────────────────► CLOSED

        each of these ── CLOSE ─► DRAINING ── DRAINED ─► LINGERING ── DELIVERED ─► CLOSED
                      ── SOURCE_RESET ─► RESETTING ── DELIVERED, then RST ───────► CLOSED
                      ── RESET, DROP ────────────────────────────────────────────► CLOSED

A connection without bytes of its own (HANDSHAKING, CONNECTING, WITHOUT_BACKEND, RECONNECTING) skips DRAINING, and
the client's end there is the end of all.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias


class State(enum.IntEnum):
    """Where a connection is. From DRAINING on it is ending: no hook acts, and nothing new is read."""

    HANDSHAKING = 0
    """The client's ClientHello is read and answered; there is no backend yet."""
    CONNECTING = 1
    """`on_connect` hooks run, or the backend is dialled."""
    RELAYING = 2
    """Links move bytes, in the loop."""
    IN_THREAD = 3
    """The blocking lane has the sockets."""
    WITHOUT_BACKEND = 4
    """The backend is gone and the client stays (``stay_connected``)."""
    RECONNECTING = 5
    """There is something to send again: another backend is dialled."""
    DRAINING = 6
    """Nothing is read any more; the proxy still holds bytes, or a thread that is told to end has the sockets."""
    LINGERING = 7
    """FIN was sent; the operating system holds the last bytes, until the peers have them."""
    RESETTING = 8
    """The same for the bytes before a reset: RST follows."""
    CLOSED = 9


class Trigger(enum.IntEnum):
    """What can happen to a connection, apart from bytes."""

    CLIENT_SHAKEN = 0
    """The handshake with the client is done."""
    DIALLED = 1
    END = 2
    """One direction has delivered the end of its stream."""
    LAST_END = 3
    """And so has the other."""
    SOURCE_RESET = 4
    """One side was reset, and what it sent before is written to the other side."""
    BACKEND_LOST = 5
    """The backend has ended, or was reset, and the client stays."""
    BACKEND_SPARED = 6
    """The client has ended, and the backend's socket may serve another one."""
    NEED_BACKEND = 7
    THREAD_READY = 8
    """The blocking lane is to have the sockets, and nothing is under way."""
    THREAD_DONE = 9
    """It has given both sockets back, and the connection goes on."""
    THREAD_ENDED = 10
    """It has given them back, and the connection ends."""
    CLOSE = 11
    """End in order: everything that was sent is delivered."""
    RESET = 12
    """End at once, with RST to both sides."""
    RESET_ONE = 13
    """End at once, with RST to one side and FIN to the other."""
    DROP = 14
    """End at once, by closing the sockets."""
    DRAINED = 15
    """Everything that was read is in the hands of the operating system."""
    DELIVERED = 16
    """The peers have everything, and have ended too, or had the time for it."""
    STALLED = 17
    """A peer takes nothing any more."""
    TLS_EXPECTED = 18
    """The client is to speak TLS before anything else."""
    REQUEST_ANSWERED = 19
    """The client of a forward proxy may ask for another server now."""


Transition: TypeAlias = tuple[str, State]
"""A method of `ProxiedConnection`, and the state that it begins in."""

_ENDS_AT_ONCE: dict[Trigger, Transition] = {
    Trigger.RESET: ("abort", State.CLOSED),
    Trigger.RESET_ONE: ("reset_one_side", State.LINGERING),
    Trigger.DROP: ("finish", State.CLOSED),
}

TRANSITIONS: Mapping[State, Mapping[Trigger, Transition]] = MappingProxyType(
    {
        State.HANDSHAKING: {
            Trigger.CLIENT_SHAKEN: ("connect", State.CONNECTING),
            Trigger.CLOSE: ("say_farewell", State.LINGERING),
            **_ENDS_AT_ONCE,
        },
        State.CONNECTING: {
            Trigger.TLS_EXPECTED: ("accept_tls", State.HANDSHAKING),
            Trigger.DIALLED: ("begin_relay", State.RELAYING),
            Trigger.CLOSE: ("say_farewell", State.LINGERING),
            **_ENDS_AT_ONCE,
        },
        State.RELAYING: {
            Trigger.END: ("pass_end", State.RELAYING),
            Trigger.LAST_END: ("finish", State.CLOSED),
            Trigger.REQUEST_ANSWERED: ("await_request", State.CONNECTING),
            Trigger.SOURCE_RESET: ("deliver_then_reset", State.RESETTING),
            Trigger.BACKEND_LOST: ("detach_backend", State.WITHOUT_BACKEND),
            Trigger.BACKEND_SPARED: ("keep_backend", State.CLOSED),
            Trigger.THREAD_READY: ("enter_thread", State.IN_THREAD),
            Trigger.CLOSE: ("stop_links", State.DRAINING),
            **_ENDS_AT_ONCE,
        },
        State.IN_THREAD: {
            Trigger.THREAD_DONE: ("begin_relay", State.RELAYING),
            Trigger.BACKEND_LOST: ("detach_backend", State.WITHOUT_BACKEND),
            Trigger.SOURCE_RESET: ("deliver_then_reset", State.RESETTING),
            Trigger.THREAD_ENDED: ("say_farewell", State.LINGERING),
            Trigger.CLOSE: ("stop_thread", State.DRAINING),
            **_ENDS_AT_ONCE,
            Trigger.RESET_ONE: ("abort", State.CLOSED),
        },
        State.WITHOUT_BACKEND: {
            Trigger.NEED_BACKEND: ("schedule_dial", State.RECONNECTING),
            Trigger.END: ("finish", State.CLOSED),
            Trigger.SOURCE_RESET: ("abort", State.CLOSED),
            Trigger.CLOSE: ("say_farewell", State.LINGERING),
            **_ENDS_AT_ONCE,
        },
        State.RECONNECTING: {
            Trigger.DIALLED: ("relay_again", State.RELAYING),
            Trigger.END: ("finish", State.CLOSED),
            Trigger.SOURCE_RESET: ("abort", State.CLOSED),
            Trigger.CLOSE: ("say_farewell", State.LINGERING),
            **_ENDS_AT_ONCE,
        },
        State.DRAINING: {
            Trigger.THREAD_ENDED: ("say_farewell", State.LINGERING),
            Trigger.DRAINED: ("say_farewell", State.LINGERING),
            Trigger.STALLED: ("abort", State.CLOSED),
            **_ENDS_AT_ONCE,
            Trigger.RESET_ONE: ("abort", State.CLOSED),
        },
        State.LINGERING: {
            Trigger.DELIVERED: ("finish", State.CLOSED),
            Trigger.STALLED: ("abort", State.CLOSED),
            Trigger.RESET: ("finish", State.CLOSED),
            Trigger.RESET_ONE: ("finish", State.CLOSED),
            Trigger.DROP: ("finish", State.CLOSED),
        },
        State.RESETTING: {
            Trigger.DELIVERED: ("abort", State.CLOSED),
            Trigger.STALLED: ("abort", State.CLOSED),
            **_ENDS_AT_ONCE,
            Trigger.RESET_ONE: ("abort", State.CLOSED),
        },
        State.CLOSED: {
            Trigger.THREAD_ENDED: ("reset_returned_sockets", State.CLOSED),
        },
    }
)
"""What an event does, by the state that the connection is in. Events that are not here change nothing there."""
