"""Room for what a test opens: descriptors, and addresses that not every machine has."""

from __future__ import annotations

import functools
import resource
import socket

import pytest


def room(descriptors: int) -> None:
    """Let this process, and those that it starts, have so many *descriptors*. The test skips where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and hard < descriptors:
        pytest.skip(f"needs {descriptors} descriptors; ulimit -Hn says {hard}")
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


@functools.cache
def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def ipv6() -> None:
    """The test skips where there is no ``::1``."""
    if not _has_ipv6():
        pytest.skip("no IPv6 here: ::1 cannot be bound")
