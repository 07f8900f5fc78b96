"""A client and its backend, from accept to the end: the only room that knows all others.

The problem: a connection is dialled, moves bytes, changes lanes, loses its backend and finds another, is closed by a
fault, by the interface or by a peer, in every order, and each order must end in what a peer would see without a proxy.

The way: a `Connection` is in one `State`, a table (`states`) says what each event does in each state, and two methods
decide everything::

    Link, HookQueue, FilterChain, LaneSwitch, Dial, Delivery
        │ facts: end passed, source failed, thread ended, dialled, delivered
        ▼
    Connection.on(event)          the one place where the state changes
    Connection.reconfigure()      the one place that decides what changes next, once something under way is done
        │
        ├─► ProxyState            what all connections of a proxy share: policy, draws, counts, buffer
        └─► ConnectionEvents ──► EventBus ──► observers

What this does not do: it moves no byte (`relay`, `blocking`) and runs no hook on bytes (`filters`).
"""
