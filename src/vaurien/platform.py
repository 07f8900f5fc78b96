"""The facts about the operating system that the code decides by, each in one place.

Linux has the better way of each kind; macOS and the BSDs take the portable one. With ``VAURIEN_PORTABLE=1`` in the
environment a process on Linux takes the portable ways too, all of them: this is how they are tested. A module reads a
fact when it needs it, not while it is imported, so that a test can switch off a single one.
"""

from __future__ import annotations

import os
import sys

SWITCH = "VAURIEN_PORTABLE"

LINUX = sys.platform == "linux" and not os.environ.get(SWITCH)
"""Whether this is Linux, and its own ways are not switched off."""

EPOLL = LINUX
"""epoll(7): can be nested, and reports failures that nothing asked for (EPOLLERR)."""

TIMERFD = LINUX
"""timerfd_create(2): a timer that is a file, more precise than the timers of an event loop."""

MEMFD = LINUX
"""memfd_create(2): a file without a name and a folder."""

OPTIONS_INHERITED = LINUX
"""An accepted socket has the options of the listening one, TCP_NODELAY and congestion control among them."""

NON_BLOCKING_AT_BIRTH = LINUX
"""socket(2) makes a non-blocking socket when it is asked for SOCK_NONBLOCK, without another call."""

PORT_STAYS_BOUND = LINUX
"""A socket can stop listening by shutdown(2) and begin again by listen(2), and has its port all the time."""

PORT_SHARED = LINUX
"""The system distributes clients over the processes that listen on one port with SO_REUSEPORT (socket(7)).

macOS lets several processes listen too, and gives all clients to one of them.
"""

CONGESTION_CONTROL = LINUX
"""A socket can choose its congestion control (TCP_CONGESTION, tcp(7))."""

UNACKNOWLEDGED_KNOWN = LINUX
"""The system says how many bytes the peer has not acknowledged (SIOCOUTQ, tcp(7))."""

END_BEFORE_RESET_TOLD = LINUX
"""send(2) to a socket that was reset fails with EPIPE where the end of its stream came first, or with ECONNRESET."""

CONNECTION_DISSOLVES = LINUX
"""connect(2) to an address of AF_UNSPEC ends a TCP connection with RST, also while another thread uses it."""

HANG_UP_POLLED = LINUX
"""poll(2) reports the end of a stream although bytes before it are unread (POLLRDHUP)."""

LOW_WATER_POLLED = LINUX
"""A TCP socket with fewer unread bytes than SO_RCVLOWAT is not reported as readable (socket(7), since Linux 2.6.28)."""

TIMED_BY_KERNEL = LINUX
"""A blocking call on a socket gives up with EAGAIN after the time in SO_RCVTIMEO or SO_SNDTIMEO (socket(7))."""

EVENTFD = LINUX and hasattr(os, "eventfd")
"""eventfd(2): one descriptor that wakes a thread which polls, where a pair of sockets takes two."""

CORES_GRANTED = LINUX
"""The system says which cores this process may use (sched_getaffinity(2))."""

ADDRESS_REUSED = os.name == "posix"
"""SO_REUSEADDR lets a port be bound again after its connections have ended; on Windows two programs could share it."""


def cores() -> int:
    """The processor cores for this process, or those of the machine where the system does not say."""
    return len(os.sched_getaffinity(0)) if CORES_GRANTED else os.cpu_count() or 1
