"""Vaurien inside a program: `Proxy` for plain synchronous code, `AsyncProxy` for asyncio.

What can be told and asked is the same for both, see `BaseProxy`: it waits for nothing, so it is called without
``await``. They differ in how they begin, end and wait: `Proxy` lives in a thread that all of a process share,
`AsyncProxy` in the loop of the caller. A change is in force, for the next byte of every connection, when the call
returns.
"""

from vaurien.library.asynchronous import AsyncProxy
from vaurien.library.synchronous import Proxy

__all__ = ["AsyncProxy", "Proxy"]
