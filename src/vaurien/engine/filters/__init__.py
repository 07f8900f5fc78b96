"""The hooked lane: the faults of a connection, on its bytes and on its exchanges.

The problem: faults see bytes and exchanges, may wait in the middle of them, come and go while a connection lives, and
must neither lose nor reorder a byte. Most bytes meet no fault and should cost next to nothing.

The way: a connection has one chain of filters for each direction, behind one exchange tracker::

                        ExchangeTracker (one for both directions; StreamTracker where the protocol has streams)
                          cuts the bytes by the protocol's framing, draws faults, runs on_request, on_response, on_done
                          │ pieces that no fault acts on ──────────────► Link.write, in the same callback
                          ▼
    Link.filters ──► Filter ──► Filter ──► … ──► Sink ──► Link.write
                       │ on_data, on_eof, on_alarm of one fault
                       └ DelayLine: chunks that leave later, and what is behind them

    FilterChain     builds both directions from the policy, and rebuilds them live
    ExchangeDraws   which faults act on an exchange
    SentHeads       in which form the backend gets the head of a request
    BoundFault      a fault on this connection: whether it acts, its state, what its hooks wait for
    FaultView       what hooks see of a link (Filter) or an exchange (ExchangeContext)

A removed fault lets go of what it holds, its filter passes bytes on until it is empty, and is taken out then. Hooks are
coroutines; one that does not wait costs no task.

What this does not do: it reads and writes no socket (`relay`), draws no number (`policy`), and knows no fault by name.
The connection is a `FilteredConnection`, a `TrackedConnection` or a `ChainedConnection`: this knows no more of it.
"""
