"""A server of gRPC, by grpcio, that echoes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.waiting import PATIENCE


class Service:
    """Echoes: ``Unary``, ``Up`` (joins what comes), ``Down`` (single bytes), ``Both``; and what it saw.

    ``Slow`` does not answer before its client gives up, ``Flaky`` not before the third attempt.
    """

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.given_up = threading.Event()
        self._lock = threading.Lock()

    def note(self, request: bytes) -> bytes:
        with self._lock:
            self.seen.append(request)
        return request

    def handlers(self) -> dict[str, Any]:
        def fail(request: bytes, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00e9%")

        def slow(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.add_callback(self.given_up.set)
            self.given_up.wait(PATIENCE)
            return request

        def flaky(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.note(request)
            if dict(context.invocation_metadata()).get("grpc-previous-rpc-attempts") != "2":
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            return request

        return {
            "Slow": grpc.unary_unary_rpc_method_handler(slow),
            "Flaky": grpc.unary_unary_rpc_method_handler(flaky),
            "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: self.note(request)),
            "Up": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
            "Down": grpc.unary_stream_rpc_method_handler(lambda request, _: (bytes([byte]) for byte in request)),
            "Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: (self.note(one) for one in requests)),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
        }


@contextlib.contextmanager
def served() -> Iterator[tuple[Service, int]]:
    """A `Service`, ``test.Echo``, and its port, while the block runs."""
    made = Service()
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", made.handlers()),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield made, port
    finally:
        server.stop(0).wait()
