"""Do to a request what its own headers ask for."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._http import check_protocol
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange

_PREFIX = "x-envoy-fault-"
_NAMES = (
    "delay-request",
    "delay-request-percentage",
    "abort-request",
    "abort-grpc-request",
    "abort-request-percentage",
)
_LONGEST = 24 * 3600 * 1000
"""Milliseconds that a client may ask for."""


class HeaderFaults(Behavior, frozen=True):
    """Do to a request what its own headers ask for, so that tests which run in parallel choose their own faults.

    The headers are those of Envoy's fault filter. ``x-envoy-fault-delay-request``: so many milliseconds pass before the
    backend sees the request. ``x-envoy-fault-abort-request``: the client reads a response with that status instead.
    ``x-envoy-fault-abort-grpc-request``: it reads that status of gRPC, as a number. With
    ``x-envoy-fault-delay-request-percentage`` and ``x-envoy-fault-abort-request-percentage`` only such a share of
    requests is delayed, or aborted. The backend sees none of these headers; values that are no such number do nothing.
    The option ``header_faults`` of a protocol sets this fault.
    """

    occasion: ClassVar[str] = (
        f"a request with the header {_PREFIX}delay-request, {_PREFIX}abort-request or {_PREFIX}abort-grpc-request"
    )

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without headers. Raises `OptionError`."""
        check_protocol("header_faults", protocol)

    async def on_request(self, exchange: Exchange) -> None:
        """Remove the headers, wait, answer."""
        fields, request = exchange.request.fields, exchange.request
        asked = {name: fields[f"header.{_PREFIX}{name}"] for name in _NAMES if f"header.{_PREFIX}{name}" in fields}
        if not asked:
            return
        gone = {_PREFIX + name for name in _NAMES}
        exchange.change(exchange.protocol.changed_head(request, exchange.head, gone, ()))
        delay = _number(asked.get("delay-request"), 1, _LONGEST)
        if delay is not None and _is_drawn(exchange, asked.get("delay-request-percentage")):
            await exchange.sleep(delay / 1000)
        status = _number(asked.get("abort-request"), 200, 599)
        code = _number(asked.get("abort-grpc-request"), 0, 16)
        if (status is None and code is None) or not _is_drawn(exchange, asked.get("abort-request-percentage")):
            return
        if code is not None:
            headers = [
                ("content-type", "application/grpc"),
                ("grpc-status", str(code)),
                ("grpc-message", "as asked for"),
            ]
            exchange.reply(exchange.protocol.response(request, 200, headers, b""))
        elif status is not None:
            exchange.reply(exchange.protocol.response(request, status, [], b""))


def _number(text: str | None, least: int, most: int) -> int | None:
    """The number that *text* is, if it is one from *least* to *most*."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
        return None
    return int(text) if least <= int(text) <= most else None


def _is_drawn(exchange: Exchange, percentage: str | None) -> bool:
    """Whether the share *percentage* of requests, all if there is none, includes this one."""
    share = _number(percentage, 0, 100)
    return share is None or exchange.random.random() * 100 < share
