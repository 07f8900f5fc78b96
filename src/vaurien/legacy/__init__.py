"""Plugins written for Mozilla's Vaurien (0.1 to 2.0), or as if: what they derive from, and how they are called.

The problem: such a plugin blocks in real sockets, keeps its state in its own attributes, compares received data with
``''`` as on Python 2, and derives from classes at import paths of then. All of it is kept::

    import paths of then            here                                     called by
    ───────────────────────────     ─────────────────────────────────────    ─────────────────────────────────
    vaurien.handlers[.base]    ──►  handler, handlers                        handler(client, backend, to_backend)
    vaurien.behaviors.dummy    ──►  behavior                                 ┐
    vaurien.behaviors.error …  ──►  behaviors                                ├ bridge.call, which asks
    vaurien.protocols.base     ──►  protocol                                 │   on_before_handle
    vaurien.protocols.http …   ──►  protocols                                │   protocol._handle, on_between_handle
    vaurien.util               ──►  sockets, processes                       ┘   on_after_handle

`instances` makes one instance of a plugin for each proxy, with its settings. `sockets` are the connection's real ones,
blocking, with two manners of Python 2 added. Where a proxy's protocol is no legacy plugin, a `Transparent` moves the
bytes under a legacy behavior.

Everything here runs in the thread of one connection (`vaurien.engine.blocking`) and may block; nothing here knows that
thread, or the loop. It does not imitate gevent: a plugin may call any blocking library, and shares nothing but what it
guards by a lock of its own.
"""
