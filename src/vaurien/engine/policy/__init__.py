"""The policy of a proxy, made ready to run: which faults there are, for which clients, how often, and for how long.

The problem: a policy changes while connections live, is the same for thousands of them, and its chance must be
repeatable, in one process and in several, in the loop and in threads.

The way: a `Policy` (a value of the model) is compiled once. Connections compare its faults by identity to see what has
changed. Everything that is drawn goes through one object::

    Policy ──► CompiledPolicy ──► CompiledFault: behavior, hooks, Matcher
                                       │
    occasion (connection, exchange, chunk, turn)
        └──► Chance ──► ReplayedDecisions, if an earlier run is repeated
                   └──► WindowCounter ──► generator of this fault on this connection

    SharedState     objects and numbers that a fault keeps for the whole proxy
    SharedCounters  numbers that several processes change: the windows' and the faults' own
    Expiries        faults with a time to live

What this does not do: no socket, no loop, no hook is in here. `Chance` and `SharedState` learn from the proxy that the
policy has changed.
"""
