"""The names of behaviors and their options, for editors and type checkers: `BaseProxy.fault` has this type.

Written by docs/overloads.py from the behaviors: change them there, then `make docs`.
"""
# fmt: off
# ruff: noqa: E501 - a type with many choices is one line

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypedDict, Unpack, overload

from vaurien.library.changes import LiveChange
from vaurien.model import Fault, Scope, Stream, Window


class FaultFields(TypedDict, total=False):
    """The fields of a fault, besides its behavior and the options of that."""

    name: str | None
    stream: Stream | Literal["upstream", "downstream", "both"] | None
    probability: float | None
    scope: Scope | Literal["connection", "exchange", "chunk"] | None
    window: Window | Mapping[str, object] | None
    match: Mapping[str, str] | None
    ttl: float | str | None
    expect_hits: str | None
    options: Mapping[str, object] | None


class AddFault(Protocol):
    """What adds a fault to a proxy, see `BaseProxy.fault`."""

    @overload
    def __call__(
        self,
        behavior: Literal["abort"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["bandwidth"],
        /,
        *,
        rate: float = ...,
        burst: float = ...,
        shared: Literal["connection", "client", "proxy"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["blackout"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["coalesce"],
        /,
        *,
        size: int | str = ...,
        wait: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["corrupt"],
        /,
        *,
        rate: float = ...,
        first: int | str = ...,
        last: int | str | None = ...,
        mode: Literal["flip", "zero", "random"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["delay"],
        /,
        *,
        sleep: float | str = ...,
        before: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["drop_response"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["dummy"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["duplicate_request"],
        /,
        *,
        handshakes: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["error"],
        /,
        *,
        inject: bool = ...,
        warmup: int = ...,
        code: str | None = ...,
        status: int | None = ...,
        message: str | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["flap"],
        /,
        *,
        up: float | str = ...,
        down: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["freeze"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_content_type"],
        /,
        *,
        value: str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_deadline"],
        /,
        *,
        margin: float | str = ...,
        before: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_no_trailers"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_slow_trailers"],
        /,
        *,
        delay: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_status"],
        /,
        *,
        code: Literal["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"] = ...,
        message: str = ...,
        details: Sequence[str] | str = ...,
        after: int | None = ...,
        pushback: int | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["grpc_truncate"],
        /,
        *,
        after: int = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["h2_goaway"],
        /,
        *,
        last: Literal["current", "none", "graceful"] = ...,
        code: Literal["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"] = ...,
        text: str = ...,
        close: float | str | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["h2_ping"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["h2_reset"],
        /,
        *,
        code: Literal["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"] = ...,
        after: int | str | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["h2_settings"],
        /,
        *,
        max_concurrent_streams: int | None = ...,
        initial_window_size: int | None = ...,
        max_frame_size: int | None = ...,
        max_header_list_size: int | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["h2_stall"],
        /,
        *,
        of: Literal["stream", "connection"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["hang"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["header_faults"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["http_headers"],
        /,
        *,
        set: Sequence[str] | str = ...,
        remove: Sequence[str] | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["http_status"],
        /,
        *,
        status: int = ...,
        body: str = ...,
        headers: Sequence[str] | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["inject"],
        /,
        *,
        data: str = ...,
        offset: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["latency"],
        /,
        *,
        latency: float | str = ...,
        jitter: float | str = ...,
        distribution: Literal["uniform", "normal", "pareto", "exponential", "constant"] = ...,
        correlation: float = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["limit_data"],
        /,
        *,
        bytes: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["limit_time"],
        /,
        *,
        after: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["malformed_body"],
        /,
        *,
        after: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["noop"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["packet_loss"],
        /,
        *,
        loss_rate: float = ...,
        correlation: float = ...,
        rto: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["rate_limited"],
        /,
        *,
        status: Literal["429", "503", "529"] = ...,
        retry_after: float | str = ...,
        limit: int = ...,
        shape: Literal["openai", "anthropic"] = ...,
        message: str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["refuse"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["replace"],
        /,
        *,
        pattern: str = ...,
        by: str = ...,
        regex: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["reset_peer"],
        /,
        *,
        timeout: float | str = ...,
        after_bytes: int | str = ...,
        side: Literal["both", "client", "backend"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["slicer"],
        /,
        *,
        average_size: int | str = ...,
        size_variation: int | str = ...,
        delay: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["slow_accept"],
        /,
        *,
        delay: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["slow_close"],
        /,
        *,
        delay: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["starttls_refused"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["starttls_stripped"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_cut"],
        /,
        *,
        after: int | None = ...,
        how: Literal["clean", "fin", "rst"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_drop"],
        /,
        *,
        after: int = ...,
        events: int = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_duplicate"],
        /,
        *,
        after: int = ...,
        events: int = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_error"],
        /,
        *,
        after: int = ...,
        shape: Literal["openai", "anthropic", "text"] = ...,
        kind: str = ...,
        message: str = ...,
        text: str = ...,
        end: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_reorder"],
        /,
        *,
        after: int = ...,
        events: int = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_slow"],
        /,
        *,
        rate: float = ...,
        first: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_split"],
        /,
        *,
        after: int = ...,
        where: Literal["event", "character"] = ...,
        pause: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["stream_stall"],
        /,
        *,
        after: int = ...,
        seconds: float | str | None = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["timeout"],
        /,
        *,
        timeout: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_alert"],
        /,
        *,
        alert: Literal["close_notify", "unexpected_message", "bad_record_mac", "record_overflow", "handshake_failure", "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown", "illegal_parameter", "unknown_ca", "access_denied", "decode_error", "decrypt_error", "protocol_version", "insufficient_security", "internal_error", "inappropriate_fallback", "user_canceled", "missing_extension", "unsupported_extension", "unrecognized_name", "bad_certificate_status_response", "unknown_psk_identity", "certificate_required", "no_application_protocol"] = ...,
        after: int | str = ...,
        when: Literal["flight", "data"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_alpn"],
        /,
        *,
        protocol: str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_certificate"],
        /,
        *,
        flaw: Literal["expired", "not_yet_valid", "wrong_host", "self_signed", "unknown_ca", "missing_intermediate", "weak_key", "revoked"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_cipher"],
        /,
        *,
        ciphers: str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_client_certificate"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_close"],
        /,
        *,
        when: Literal["hello", "flight", "data", "cut"] = ...,
        after: int | str = ...,
        how: Literal["fin", "reset"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_corrupt"],
        /,
        *,
        when: Literal["flight", "data"] = ...,
        after: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_no_resumption"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_plaintext"],
        /,
        *,
        text: str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_slow"],
        /,
        *,
        size: int | str = ...,
        delay: float | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_stall"],
        /,
        *,
        after: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["tls_version"],
        /,
        *,
        version: Literal["1.0", "1.1", "1.2", "1.3"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["transient"],
        /,
        *,
        inject: bool = ...,
        warmup: int = ...,
        code: str | None = ...,
        status: int | None = ...,
        message: str | None = ...,
        agitate: int = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["truncate_body"],
        /,
        *,
        after: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_close"],
        /,
        *,
        code: int = ...,
        reason: str = ...,
        side: Literal["client", "backend", "both"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_corrupt"],
        /,
        *,
        how: Literal["utf8", "mask", "reserved", "control"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_cut"],
        /,
        *,
        how: Literal["fin", "rst"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_drop"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_duplicate"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_fragment"],
        /,
        *,
        size: int | str = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_ping"],
        /,
        *,
        lost: Literal["pong", "ping"] = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_refuse"],
        /,
        *,
        status: int = ...,
        retry_after: float | str | None = ...,
        wrong_key: bool = ...,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(
        self,
        behavior: Literal["ws_reorder"],
        /,
        **fault: Unpack[FaultFields],
    ) -> LiveChange[Fault]:
        ...

    @overload
    def __call__(self, behavior: str, /, **more: object) -> LiveChange[Fault]:
        ...
