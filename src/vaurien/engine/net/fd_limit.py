"""How many connections the system lets this process hold."""

from __future__ import annotations

SPARE = 56
"""Descriptors that are not for connections: standard streams, listeners, the loop, logs, what the program opens."""

IN_THE_LOOP = 2
"""Descriptors of a connection: its client and its backend."""

IN_A_THREAD = 4
"""Descriptors of a connection in the blocking lane, which has an eventfd to be woken by, or a pair of sockets."""


def connections_possible(each: int) -> int | None:
    """How many connections of *each* so many descriptors fit under the soft limit of open files (RLIMIT_NOFILE).

    ``None``: there is no limit. Accepting more would leave clients without a backend: accept(2) takes the last
    descriptor, and socket(2) fails.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(1, (soft - SPARE) // each)


def raise_fd_limit(connections: int, each: int) -> int:
    """Raise the soft limit of open files, if need be and as far as may be, for so many *connections*.

    Returns how many of them fit then.
    """
    possible = connections_possible(each)
    if possible is None or possible >= connections:
        return connections
    import resource  # there is one where there is a limit

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SPARE + connections * each
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard))
    return min(connections, connections_possible(each) or connections)
