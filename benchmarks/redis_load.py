"""Clients of redis that do not mind errors, in several processes.

redis-benchmark ends at the first error, and is one process, which on a fast machine is what it measures. Here each
client sends some commands at once, waits for as many lines, and goes on. The answer to GET of a key that is not there
is one line, an error too.

    python -m benchmarks.redis_load PORT CLIENTS SECONDS COMMANDS PROCESSES

prints replies per second, and their number.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import select
import sys
import time

from benchmarks import sockets

COMMAND = b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n"
_READ = 1 << 16


def run(port: int, clients: int, seconds: float, pipeline: int) -> int:
    """How many replies *clients* had in *seconds*."""
    request, count = COMMAND * pipeline, 0
    with contextlib.ExitStack() as stack, select.epoll() as epoll:
        opened = [stack.enter_context(sockets.connected(port)) for _ in range(clients)]
        waiting = {one.fileno(): (one, pipeline) for one in opened}
        for one in opened:
            epoll.register(one.fileno(), select.EPOLLIN)
            one.sendall(request)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for fd, _ in epoll.poll(0.1):
                one, missing = waiting[fd]
                data = one.recv(_READ)
                if not data:
                    raise ConnectionError(f"a connection to port {port} ended after {count} replies")
                lines = data.count(b"\n")
                count += lines
                missing -= lines
                if missing <= 0:
                    one.sendall(request)
                    missing = pipeline
                waiting[fd] = one, missing
    return count


def main(port: int, clients: int, seconds: float, pipeline: int, processes: int) -> None:
    """Run the load in *processes*, which share the *clients*, and print what came of it."""
    with concurrent.futures.ProcessPoolExecutor(processes) as pool:
        share = max(1, clients // processes)
        counts = [pool.submit(run, port, share, seconds, pipeline) for _ in range(processes)]
        total = sum(count.result() for count in counts)
    print(total / seconds, total)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
