"""A machine that plays client, backend and control of a running proxy: what arrives is what was sent.

Whatever the order of sends, half-closes, resets and changes of the policy: what a side receives is a prefix of what the
other one sent; without a reset it is all of it; and at the end nothing of the connection is left.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.running import PATIENCE, Running, backend, reset, running
from vaurien.events import Closed, Failed
from vaurien.model import Fault, Scope, Stream

STREAMS = st.sampled_from(list(Stream))
FAULTS = st.one_of(
    st.builds(
        lambda after, stream: Fault("late", "tests.plugins.Late", {"after": after}, stream=stream),
        st.sampled_from([0.001, 3600.0]),
        STREAMS,
    ),
    st.builds(
        lambda wait, stream: Fault("slow", "tests.plugins.Slow", {"wait": wait}, stream=stream),
        st.sampled_from([0.0, 0.001, 3600.0]),
        STREAMS,
    ),
    st.builds(
        lambda stream, scope, probability: Fault(
            "noop", f"tests.plugins.{scope[0]}", stream=stream, scope=scope[1], probability=probability
        ),
        STREAMS,
        st.sampled_from(
            [("Noop", Scope.CONNECTION), ("Noop", Scope.EXCHANGE), ("Passes", Scope.EXCHANGE), ("Passes", Scope.CHUNK)]
        ),
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    st.builds(lambda sleep: Fault("delay", "delay", {"sleep": sleep}), st.sampled_from([0.001, 3600.0])),
    st.just(Fault("hang", "hang")),
    st.builds(lambda stream: Fault("freeze", "freeze", stream=stream), STREAMS),
    st.builds(
        lambda latency, stream: Fault("latency", "latency", {"latency": latency, "jitter": 1}, stream=stream),
        st.sampled_from([1, 3_600_000]),
        STREAMS,
    ),
    st.just(Fault("coalesce", "coalesce", {"size": "1MiB", "wait": "1h"})),
    st.just(Fault("slow_close", "slow_close", {"delay": "1h"})),
)
POLICIES = st.lists(FAULTS, max_size=3, unique_by=lambda fault: fault.name)
SIDES = st.sampled_from(["client", "backend"])
SIZES = st.sampled_from([1, 2, 100, 70_000, 3_000_000])


class Conversation(RuleBasedStateMachine):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.sent = {"client": b"", "backend": b""}  # by that side
        self.got = {"client": bytearray(), "backend": bytearray()}
        self.over: set[str] = set()
        self.hung = self.was_reset = False

    @initialize(faults=POLICIES, protocol=st.sampled_from(["tcp", "http"]))
    def connect(self, faults: list[Fault], protocol: str) -> None:
        listening = self.stack.enter_context(backend())
        address = listening.getsockname()
        self.proxy: Running = self.stack.enter_context(running(address, "", *faults, protocol=protocol))
        self.note(faults)
        client = self.stack.enter_context(self.proxy.connect())
        server = self.stack.enter_context(listening.accept()[0])
        self.sockets: dict[str, socket.socket] = {"client": client, "backend": server}
        for one in self.sockets.values():
            one.setblocking(False)

    def note(self, faults: list[Fault]) -> None:
        self.hung = self.hung or any(fault.name == "hang" for fault in faults)
        if self.hung and "client" in self.over:  # its end, or bytes before that, may meet the hang
            self.was_reset = True

    @precondition(lambda self: not self.was_reset)
    @rule(side=SIDES, size=SIZES, seed=st.integers(0, 250))
    def send(self, side: str, size: int, seed: int) -> None:
        if side in self.over:
            return
        data = bytes((seed + i) % 251 for i in range(251)) * (size // 251 + 1)
        with contextlib.suppress(OSError):
            sent = self.sockets[side].send(data[:size])
            self.sent[side] += data[:sent]

    @rule(side=SIDES)
    def read(self, side: str) -> None:
        self.take(side)

    def take(self, side: str) -> bool:
        """Whether more may come."""
        try:
            data = self.sockets[side].recv(1 << 20)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.got[side] += data
        return bool(data)

    @precondition(lambda self: not self.was_reset)
    @rule(side=SIDES)
    def half_close(self, side: str) -> None:
        self.over.add(side)
        if side == "client" and self.hung:
            self.was_reset = True  # a hang ends the connection when its client leaves, by design
        with contextlib.suppress(OSError):
            self.sockets[side].shutdown(socket.SHUT_WR)

    @precondition(lambda self: not self.was_reset)
    @rule(side=SIDES)
    def reset(self, side: str) -> None:
        self.was_reset = True
        reset(self.sockets[side])

    @rule(policies=st.lists(POLICIES, min_size=1, max_size=3))
    def change(self, policies: list[list[Fault]]) -> None:
        for faults in policies:
            self.note(faults)
            self.proxy.set_policy("", *faults)

    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "sockets"):
                self.finish()

    def finish(self) -> None:
        """Cure everything, end both streams, and read what there is."""
        self.proxy.set_policy("")
        for one in self.sockets.values():
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)
        more = {"client", "backend"}
        give_up = time.monotonic() + PATIENCE
        while more and time.monotonic() < give_up:
            more = {side for side in more if self.take(side)}
        assert not more, f"no end: {self.proxy.links()}"
        closed: Any = self.proxy.events.wait(Closed)[0]
        for side, other in (("client", "backend"), ("backend", "client")):
            got, sent = bytes(self.got[side]), self.sent[other]
            assert sent.startswith(got), f"{side} got what {other} did not send; {closed}"
            assert self.was_reset or got == sent, f"{side} got {len(got)} of {len(sent)}; {closed}"
        failed = [event for event in self.proxy.events.of(Failed) if event.where != "dial"]  # a reset may be that early
        assert not failed
        assert not self.proxy.call(lambda: self.proxy.proxy.connections)


Conversation.TestCase.settings = settings(
    max_examples=60, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
test_a_conversation = Conversation.TestCase
