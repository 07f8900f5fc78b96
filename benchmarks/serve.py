"""A proxy as a process: ``python -m benchmarks.serve uvloop 127.0.0.1:1234 127.0.0.1:6379 --fault Pass --count 5``."""

from __future__ import annotations

import argparse
import asyncio
import signal

import msgspec

from benchmarks import faults
from vaurien.cli import observing
from vaurien.cli.serve import spare_collector
from vaurien.model import Address, Fault, Policy, ProxyConfig, Stream
from vaurien.proxy import Proxy


def configuration(listen: str, backend: str, fault: str, count: int, stream: str, given: str) -> ProxyConfig:
    """A plain TCP proxy with *count* faults of the kind *fault* of `benchmarks.faults`, options *given* in JSON."""
    path = f"{faults.__name__}.{fault}"
    options = msgspec.json.decode(given)
    installed = tuple(Fault(f"{fault} {n}", path, options, Stream(stream)) for n in range(count))
    return ProxyConfig(
        name="bench",
        listen=Address.parse(listen),
        backend=Address.parse(backend),
        policy=Policy(faults=installed),
    )


async def serve(config: ProxyConfig) -> None:
    """Run a proxy until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    proxy = Proxy(config)
    await proxy.start()
    spare_collector()
    await stopped.wait()
    await proxy.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve")
    parser.add_argument("loop", choices=["asyncio", "uvloop", "stock"], help="stock is asyncio's own loop")
    parser.add_argument("listen", help="host:port")
    parser.add_argument("backend", help="host:port")
    parser.add_argument("--fault", default="Pass", help="a class of benchmarks.faults")
    parser.add_argument("--count", type=int, default=0, help="how many of them, one behind the other")
    parser.add_argument("--stream", default=Stream.BOTH.value, help="upstream, downstream or both")
    parser.add_argument("--options", default="{}", help="their options, in JSON")
    given = parser.parse_args()
    factory = None if given.loop == "stock" else observing.loops(given.loop == "uvloop")
    config = configuration(given.listen, given.backend, given.fault, given.count, given.stream, given.options)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(config))


if __name__ == "__main__":
    main()
