"""Sockets: listening, accepting, dialling, and how they end.

The problem: what a client sees of a proxy is what the proxy's sockets do. A reset must not look like an end, an end
must not destroy what is on its way to a slow reader, and a new connection must cost few system calls.

The way: all sockets are raw and non-blocking, and the loop calls back when one is ready::

    binding ──► Listener ──► PlainEndpoint (the client)      reserved_port: closed for a while, and kept
    Dial, Pool ────────────► PlainEndpoint (the backend)     congestion_control, fd_limit: what the system allows
                                   │
                                   ├─ ended, and reset later ──────────► ResetWatcher
                                   └─ close in order ──► Delivery ─────► FIN, everything acknowledged, closed
                                                            └─ nothing taken for so long ──► StallWatch

An endpoint is what a link reads and writes. A plain socket is one by itself, so its bytes pass no layer; an endpoint
with a layer of its own says that it buffers: `tls_endpoint` (TLS), `starttls_endpoint` (what is said before it).
`Dial` asks `resolver` for names, in threads of its own, and `own_addresses` for what it must not dial: this program.

What this does not do: it decides nothing. When to close, and how, is the connection's business.
"""
