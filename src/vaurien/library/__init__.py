"""Vaurien inside a program: `Proxy` for plain synchronous code, `AsyncProxy` for asyncio.

Both are the same `Steered`, what can be said to a running proxy without waiting, and differ in how they begin, end and
wait: `Proxy` lives in a thread of its own, which all of a process share, `AsyncProxy` in the caller's loop.
"""

from vaurien.library.asynchronous import AsyncProxy
from vaurien.library.synchronous import Proxy

__all__ = ["AsyncProxy", "Proxy"]
