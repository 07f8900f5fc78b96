"""A client and its backend, from accept to the end: the only room that knows all others.

The problem: a connection is dialled, moves bytes, changes lanes, loses its backend and finds another, is closed by a
fault, by the interface or by a peer, in every order, and each order must end in what a peer would see without a proxy.

The way: a `ProxiedConnection` is in one `State`, a table (`states`) says what each trigger does in each state, and two
methods decide everything::

    ClientSetup, BackendSetup, Reconnect      before bytes move: first words, TLS, dial
    RelayLink, HookQueue, FilterChain         while they move
    LaneSwitch, Delivery                      in the thread; at the end
        │ facts: shaken, dialled, end passed, source failed, thread ended, delivered
        ▼
    ProxiedConnection.on(trigger)             the one place where the state changes
    ProxiedConnection.reconfigure()           the one place that decides what changes next, once something is done
        │
        ├─► ProxyState                        what all connections of a proxy share: policy, draws, counts, buffer
        └─► ConnectionEvents ──► EventBus ──► observers

What this does not do: it moves no byte (`relay`, `blocking`) and runs no hook on bytes (`filters`).
"""
