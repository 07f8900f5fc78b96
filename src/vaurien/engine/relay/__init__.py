"""The direct lane: the bytes of one direction.

The problem: most bytes meet no fault. They should pass as fast as two system calls allow, in bounded memory, with the
back-pressure that the peers would have without a proxy, and the same object must serve when a fault begins to act.

The way: a connection has two links, one for each direction::

    source ──recv_into──► one buffer for all ──send──► destination          direct: nothing acts on the bytes
                              │                  └──► WriteBuffer            what the destination does not take;
                              │                                              the source is not read until it does
                              ▼
                         LinkFilters ── hooks, in HookQueue ──► Link.write   hooked: one hook after the other

A link is told by the loop that its source is readable, and `Link.update` is the one place that decides what the loop is
to call then: nothing while bytes are pending, a hook runs or the link is paused. Reading ahead is the exception: a hook
may wait for the end of the stream, which is behind the bytes.

What this does not do: a link knows neither faults nor the connection. It reports to its `LinkOwner` that the end is
passed on, that a side has failed, or that it needs a backend; how the connection goes on is decided there.
"""
