"""The event loop of the engine: asyncio's, with readiness callbacks that are called where they are found.

For each file that is ready asyncio takes a handle, puts it in a queue, and later runs it in a context of its own. For a
callback that reads one socket and writes another that is a third of its time outside the kernel. Here the selector,
which asyncio asks what is ready, calls these callbacks itself, and tells asyncio of asyncio's own files only. Tasks,
timers, transports, signals and subprocesses stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVarTuple

from vaurien import platform

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

Callback = Callable[[], object]
Callbacks = dict[int, Callback]
"""By the numbers of their files."""

Facts = TypeVarTuple("Facts")

TURN = 32
"""Files that are seen to in one turn. Between two turns come tasks and asyncio's own files, as of the HTTP interface:
beside hundreds of busy connections these would wait for all of them, at each of the steps that a request takes."""

_IN, _OUT, _END = 0x1, 0x4, 0x2000
"""EPOLLIN, EPOLLOUT and EPOLLRDHUP (epoll_ctl(2)), which the module `select` has on Linux only."""

_READ = _IN | _END
"""The events of a reader."""


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop on Linux, at a lower price for each readable or writable file.

    What `add_reader` and `add_writer` register runs without a handle: in the context of the loop, not in a copy
    made for it, and unseen by asyncio's debug mode. What it raises goes to the loop's exception handler.
    """

    def __init__(self) -> None:
        self._files = _Files(self)
        super().__init__(self._files)

    def add_reader(self, fd: FileDescriptorLike, callback: Callable[[*Facts], Any], *args: *Facts) -> None:
        """Call *callback* whenever *fd* can be read, or has failed."""
        files = self._files
        files.watch(fd, functools.partial(callback, *args) if args else callback, _READ, files.readers, files.writers)

    def add_writer(self, fd: FileDescriptorLike, callback: Callable[[*Facts], Any], *args: *Facts) -> None:
        """Call *callback* whenever *fd* can be written, or has failed."""
        files = self._files
        files.watch(fd, functools.partial(callback, *args) if args else callback, _OUT, files.writers, files.readers)

    def remove_reader(self, fd: FileDescriptorLike) -> bool:
        """Watch *fd* for reading no more; whether it was. asyncio takes its own (`sock_recv`…) away so, too."""
        return self._files.forget(fd, self._files.readers, _OUT, self._files.writers) or super().remove_reader(fd)

    def remove_writer(self, fd: FileDescriptorLike) -> bool:
        """Watch *fd* for writing no more; whether it was. asyncio takes its own (`sock_connect`…) away so, too."""
        return self._files.forget(fd, self._files.writers, _READ, self._files.readers) or super().remove_writer(fd)

    def leave(self, fd: int) -> None:
        """Call nothing more for *fd*, see `leave`."""
        self._files.leave(fd)

    def go_on(self, callback: Callback) -> None:
        """Call *callback* once what is ready now was seen to, see `go_on`."""
        self._files.behind.append(callback)

    def raised(self, callback: Callback, error: Exception) -> None:
        """Tell the exception handler that *callback* raised *error*."""
        self.call_exception_handler({"message": f"the readiness callback {callback!r} raised", "exception": error})


class _Files(selectors.BaseSelector):
    """Waits for the files that have callbacks, and calls these; and for asyncio's, which it returns.

    asyncio's are in a selector of their own, and its epoll is one more file here: it is readable when one of them
    is ready (epoll(7)).
    """

    def __init__(self, loop: Loop) -> None:
        self.readers: Callbacks = {}
        self.writers: Callbacks = {}
        self.behind: deque[Callback] = deque()
        """What is called behind the callbacks of ready files, each once."""
        self._loop: Any = loop  # typeshed does not describe what is private to asyncio
        self._epoll = select.epoll()
        self._gone: set[int] = set()
        """Files that left during this batch. What it still says of them is not about a new file of that number."""
        self._asyncio = selectors.EpollSelector()
        self._asyncio_ready = False
        self.watch(self._asyncio.fileno(), self._note, _READ, self.readers, self.writers)

    def watch(self, fd: FileDescriptorLike, callback: Callback, event: int, mine: Callbacks, others: Callbacks) -> None:
        """Call *callback* on *event*: it is one of *mine*, and *others* are those of the other event."""
        number = fd if isinstance(fd, int) else fd.fileno()
        if number not in mine:
            if number in others:
                self._epoll.modify(number, _READ | _OUT)
            else:
                self._epoll.register(number, event)
        mine[number] = callback

    def forget(self, fd: FileDescriptorLike, mine: Callbacks, left: int, others: Callbacks) -> bool:
        """Have no callback for *fd* among *mine*; whether there was one. *others* are for the event *left*."""
        number = fd if isinstance(fd, int) else fd.fileno()
        if mine.pop(number, None) is None:
            return False
        try:
            if number in others:
                self._epoll.modify(number, left)
            else:
                self._gone.add(number)
                self._epoll.unregister(number)
        except OSError:  # it was closed before
            return True
        return True

    def leave(self, fd: int) -> None:
        """Have no callback for *fd*, which is closed next."""
        watched = self.readers.pop(fd, None) is not None
        if self.writers.pop(fd, None) is not None or watched:
            self._gone.add(fd)
            if _forks.happened:
                self._epoll.unregister(fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait at most *timeout* seconds, call the callbacks of ready descriptors, and return what asyncio handles.

        It goes on until asyncio has something to do, for to ask asyncio what is next takes longer than a chunk. A new
        timer is something to do: asyncio sweeps cancelled ones out of its heap. The system gives files their turns in
        a circle (epoll_wait(2), Notes), so none is forgotten.
        """
        loop, readers, gone, poll, readable = self._loop, self.readers, self._gone, self._epoll.poll, _IN
        behind, queue, timers = self.behind, loop._ready, len(loop._scheduled)
        end = time.monotonic() + timeout if timeout is not None else None
        callback: Callback | None
        while True:
            gone.clear()
            ready = poll(0 if behind else timeout, TURN)  # in milliseconds for the system, rounded up
            if len(ready) == TURN:  # there may be more, and asyncio's among them
                self._asyncio_ready = True
            for fd, event in ready:
                if gone and fd in gone:
                    continue
                if event == readable:  # nearly all there is: 50 ns less than `_tell`
                    try:
                        callback = readers[fd]
                    except KeyError:  # it was taken away in this turn
                        continue
                    try:
                        callback()
                    except Exception as error:
                        loop.raised(callback, error)
                else:
                    self._tell(fd, event)
            callback = None  # the connection of the last one may be over
            if behind:
                self._go_on()
            if self._asyncio_ready:
                self._asyncio_ready = False
                if events := self._asyncio.select(0):
                    return events
            if queue or loop._stopping or len(loop._scheduled) != timers:
                return []
            if end is not None:
                timeout = end - time.monotonic()
                if timeout <= 0:
                    return []

    def _tell(self, fd: int, event: int) -> None:
        """Call the reader or the writer of *fd*, as *event* says; an error or a hang-up calls both.

        A reader is called twice when the stream has ended: for the last bytes, and for the end behind them.
        """
        readers, writers = self.readers, self.writers
        if event & ~_OUT and fd in readers:
            self._call(fd, readers)
            if event & _END and fd in readers:
                self._call(fd, readers)
        if event & ~_READ and fd in writers:
            self._call(fd, writers)

    def _call(self, fd: int, callbacks: Callbacks) -> None:
        callback = callbacks[fd]
        if fd not in self._gone:
            try:
                callback()
            except Exception as error:
                self._loop.raised(callback, error)

    def _go_on(self) -> None:
        for _ in range(len(self.behind)):  # what is added meanwhile comes behind another look at what is ready
            callback = self.behind.popleft()
            try:
                callback()
            except Exception as error:
                self._loop.raised(callback, error)

    def _note(self) -> None:
        self._asyncio_ready = True

    # What asyncio registers.

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._asyncio.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._asyncio.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._asyncio.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._asyncio.get_map()

    def close(self) -> None:
        self.readers.clear()
        self.writers.clear()
        self.behind.clear()
        self._epoll.close()
        self._asyncio.close()


class _Forks:
    """Whether this process has forked. A child has copies of its files, so closing them takes them out of no epoll."""

    def __init__(self) -> None:
        self.happened = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._note)

    def _note(self) -> None:
        self.happened = True


_forks = _Forks()


def leave(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Have *loop* call nothing more for *fd*, which must be closed before anything else happens.

    The system takes a file that is closed out of every epoll (epoll(7), "Questions and answers"), so that the `Loop`
    need not ask for it.
    """
    if isinstance(loop, Loop):
        loop.leave(fd)
    else:
        loop.remove_reader(fd)


def go_on(loop: asyncio.AbstractEventLoop, callback: Callback) -> None:
    """Have *loop* call *callback* once what is ready now was seen to.

    It is `call_soon` without a handle and a context in the `Loop`, for a reader of a file that has something to read of
    which the system does not know.
    """
    if isinstance(loop, Loop):
        loop.go_on(callback)
    else:
        loop.call_soon(callback)


def new() -> asyncio.AbstractEventLoop:
    """An event loop for proxies: `Loop` on Linux, elsewhere asyncio's that watches sockets.

    asyncio's own choice on Windows, the proactor loop, watches none.
    """
    return Loop() if platform.EPOLL else asyncio.SelectorEventLoop()


def loop_factory(uvloop_wanted: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop of a program: uvloop's where it is wanted and installed, else `new`."""
    if uvloop_wanted:
        with contextlib.suppress(ImportError):
            import uvloop

            made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return made
    return new
