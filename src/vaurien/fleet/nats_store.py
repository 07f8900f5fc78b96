"""The store in NATS JetStream: a key-value bucket that nodes watch, one for claims, a stream for the audit trail.

NATS sends each change of the bucket to each node once. What may go wrong between two servers of a cluster, or while one
is away, is found by looking every two seconds whether the newest revision is known here: if not, all is read again.

Where nothing is slow, a node whose way to NATS is whole again knows everything within six seconds. A connection that is
dead without saying so is found after five; another one is there 0.2 s later, and all entries are three answers away:
nothing that was asked before is waited for. A watcher that brings nothing more is found within three seconds, or within
five when an answer is lost.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import functools
import math
import random
import ssl
import time
import urllib.parse
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue

from vaurien.errors import OptionError, VaurienError
from vaurien.fleet.store import (
    BEHIND,
    CLAIM_TTL,
    KeyChange,
    Outdated,
    StoreAway,
    Stored,
    Unanswered,
    end_tasks,
    nothing,
    until_closed,
    without_login,
)

_EXPECT = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"
_API_LEVEL = 2
"""JetStream's, of servers from 2.12 on."""

_WRONG_REVISION = (10071, 10164)
"""Codes of JetStream's error for a compare-and-set that met another sequence."""

_TIMEOUT = 5.0
"""Seconds that a call may take: an election of the store's own leader takes about as long."""

_READ = 2.0
"""Seconds that a call may take which only reads, and is made again: an answer may be lost with its connection."""

_LOOKING = 1.0
"""Seconds that a look may take: with the pauses, and one answer that is lost, a change is found missing within five."""

_PING, _UNANSWERED = 1, 4
"""Seconds between two PINGs, and how many may be open: a connection that is dead without saying so is found by the next
one, after five seconds at most, and a server that does nothing for four keeps its clients."""

_CONNECT = 3.0
"""Seconds that a first connection may take, over all servers."""

_LOOK, _SECOND_LOOK = 2.0, 0.5
"""Seconds between two looks whether all changes have come; and from one that missed some to the next."""

_MEASURE = 10.0
"""Seconds between two looks how far this machine's clock is from the store's."""

_IDLE, _IDLE_READ = 5.0, 1.0
"""Seconds for which the server keeps a watcher, and one that has read all, whose client is gone.

It has room for 1000 of them on a bucket, and the client library would have it keep each for five minutes.
"""

_TOMBSTONE = 3600.0
"""Seconds that a removed key is remembered for watchers that were away; after that they read everything anyway."""

AUDIT_DAYS = 30

_AUDITED = 4096
"""Bytes that a line of the audit trail has beside the entry, and a message beside its value, at most."""

_GONE = (OSError, nats.errors.Error, nats.js.errors.Error, TimeoutError, asyncio.TimeoutError)


class Where(msgspec.Struct, frozen=True):
    """Servers, the bucket in them, how many copies a new one has, and how to log in."""

    servers: tuple[str, ...]
    bucket: str = "vaurien"
    replicas: int = 1
    credentials: str | None = None
    nkey: str | None = None
    ca: str | None = None

    @classmethod
    def parse(cls, url: str, **login: str | None) -> Where:
        """What *url* says: ``nats://[token@|user:password@]host:port[,host:port…][/BUCKET][?replicas=3]``, or ``tls://``.

        Raises `OptionError`.
        """
        wanted = "nats://host:port or tls://host:port, such as nats://localhost:4222/BUCKET?replicas=3"
        scheme, separator, rest = url.partition("://")
        if scheme not in ("nats", "tls") or not separator:
            raise OptionError("fleet", without_login(url), wanted)
        rest, _, query = rest.partition("?")
        hosts, _, bucket = rest.partition("/")
        login_part, at, hosts = hosts.rpartition("@")
        options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        replicas = options.pop("replicas", "1")
        names = bucket.replace("-", "").replace("_", "")
        bad = options or not all(map(_is_server, hosts.split(","))) or replicas not in ("1", "3", "5")
        if bad or (bucket and not (names.isascii() and names.isalnum())):
            raise OptionError("fleet", without_login(url), wanted)
        servers = tuple(f"{scheme}://{login_part}{at}{host}" for host in hosts.split(","))
        return cls(servers, bucket or "vaurien", int(replicas), **login)

    def check(self) -> None:
        """Raise `OptionError` for a file of the login that cannot be used, without showing what is in it."""
        if self.credentials and self.nkey:
            raise OptionError("fleet-nkey", self.nkey, "-fleet-credentials or -fleet-nkey, not both")
        if self.credentials is not None and not {_JWT, _SEED} <= set(_lines("fleet-credentials", self.credentials)):
            wanted = "a file of credentials, as `nsc generate creds` makes it"
            raise OptionError("fleet-credentials", self.credentials, wanted)
        if self.nkey is not None:
            seed = b"".join(_lines("fleet-nkey", self.nkey)).strip()
            try:
                nkeys.from_seed(bytearray(seed))
            except (nkeys.NkeysError, ValueError):
                wanted = "a file with the seed of an NKey, which begins with SU"
                raise OptionError("fleet-nkey", self.nkey, wanted) from None
        if self.ca is not None:
            _lines("fleet-ca", self.ca)
            try:
                ssl.create_default_context(cafile=self.ca)
            except ssl.SSLError:
                raise OptionError("fleet-ca", self.ca, "a file of certificates in PEM") from None

    def __str__(self) -> str:
        return ",".join(without_login(server) for server in self.servers) + f"/{self.bucket}"


_JWT, _SEED = b"-----BEGIN NATS USER JWT-----", b"-----BEGIN USER NKEY SEED-----"
"""Lines of a file of credentials, see "Decentralized JWT Authentication" in the documentation of NATS."""


def _lines(option: str, path: str) -> list[bytes]:
    """The lines of the file at *path*. Raises `OptionError`."""
    try:
        return Path(path).read_bytes().splitlines()
    except OSError as error:
        raise OptionError(option, path, f"a file that can be read ({error.strerror})") from None


def _is_server(text: str) -> bool:
    """Whether *text* is a host, or a host and a port."""
    try:
        parts = urllib.parse.urlsplit(f"//{text}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets that do not close
        return False


class NatsStore:
    """The store at *where*; see `vaurien.fleet.store.Store`."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.on_change: Callable[[], None] = nothing
        self.offset = 0.0
        self._measured = -math.inf
        self._client: Client | None = None
        self._entries: dict[str, Stored] = {}
        self._removed: dict[str, int] = {}
        """Revisions of the marks of keys that were removed."""
        self._received = self._written = 0
        """The newest revisions that came by the watcher, and by our own writes: those say nothing of others before."""
        self._claims: Mapping[str, Stored] = {}
        self._unrecorded: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=BEHIND)
        self._recording = asyncio.Lock()
        self._trouble: str | None = "not connected yet"
        self._following: asyncio.Task[None] | None = None
        self._reading: set[asyncio.Task[Any]] = set()
        """Of them the newest counts: the others wait for answers that were lost with their connections."""
        self._telling: set[asyncio.Task[None]] = set()
        self._listeners: set[_Listener] = set()
        self._error: Exception | None = None
        self._connections = 0
        """How many there have been."""
        self._over = False
        """The client has ended, and makes no other connection."""
        self._complete = False
        """The store has all that is made where it is missing."""
        self._again = asyncio.Event()
        """Everything has to be read again."""

    @property
    def entries(self) -> Mapping[str, Stored]:
        """What is in the bucket, as far as it is known here."""
        return MappingProxyType(self._entries)

    @property
    def revision(self) -> int:
        """The newest revision that is known here."""
        return max(self._received, self._written)

    @property
    def trouble(self) -> str | None:
        """Why `entries` may be old."""
        return self._trouble

    # Life.

    async def open(self) -> None:
        """Connect, make what is missing, and know all entries. Raises `StoreAway`."""
        where = self.where
        try:
            await self._connect()
            await self._make()
            self._complete = True
            watching = await self._read()
        except StoreAway:
            await self.close()
            raise
        except _GONE as error:
            await self.close()
            raise StoreAway(f"no NATS with JetStream at {where}: {_reason(self._error or error)}") from None
        self._set_trouble(None)
        self._following = asyncio.create_task(self._follow(watching))

    async def _connect(self) -> None:
        """Have a connection, and a client that makes another one when it is lost. Raises what that raises."""
        where = self.where
        options: dict[str, Any] = {"user_credentials": where.credentials, "nkeys_seed": where.nkey}
        options["reconnect_time_wait"] = 0.2
        if where.ca is not None:
            options["tls"] = ssl.create_default_context(cafile=where.ca)
        client, self._error = Client(), None
        connecting = asyncio.create_task(
            client.connect(
                list(where.servers),
                connect_timeout=1,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                ping_interval=_PING,
                max_outstanding_pings=_UNANSWERED,
                error_cb=self._remember,
                disconnected_cb=self._gone,
                reconnected_cb=self._back,
                closed_cb=functools.partial(self._ended, client),
                **{name: value for name, value in options.items() if value is not None},
            )
        )
        try:
            try:
                await asyncio.wait({connecting}, timeout=_CONNECT)
            finally:
                await end_tasks(connecting)  # it tries for ever, and may swallow the cancellation of a time-out
            if connecting.cancelled():
                raise TimeoutError
            connecting.result()
            for listener in tuple(self._listeners):
                await listener.subscribe(client)
        except BaseException:
            with contextlib.suppress(*_GONE):
                await client.close()
            raise
        self._client, self._over = client, False

    async def close(self) -> None:
        """End the connection."""
        if self._following is not None:
            self._again.set()
            await end_tasks(self._following)
            await end_tasks(*self._reading)
            self._following = None
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*_GONE):
                await client.close()

    @property
    def _js(self) -> JetStreamContext:
        return self._jetstream(_TIMEOUT)

    @property
    def _reader(self) -> JetStreamContext:
        return self._jetstream(_READ)

    def _jetstream(self, timeout: float) -> JetStreamContext:
        return self._connected().jetstream(timeout=timeout)

    def _connected(self) -> Client:
        if self._client is None or not self._client.is_connected:  # else the client would say it later
            raise StoreAway(f"NATS at {self.where} is away")
        return self._client

    async def _make(self) -> None:
        """Make the buckets and the stream, unless they exist. Raises `StoreAway` for a server that is too old."""
        js, reader, bucket, replicas = self._js, self._reader, self.where.bucket, self.where.replicas
        info = await reader.account_info()
        if (info.api.level or 0) < _API_LEVEL:
            raise StoreAway(f"the NATS server at {self.where} is older than 2.12; expected one with atomic batches")
        made: Mapping[str, dict[str, Any]] = {
            bucket: {"limit_marker_ttl": _TOMBSTONE, "replicas": replicas},
            f"{bucket}_nodes": {"ttl": CLAIM_TTL, "storage": api.StorageType.MEMORY, "replicas": replicas},
        }
        for name, settings in made.items():
            try:
                await reader.stream_info(f"KV_{name}")
            except nats.js.errors.NotFoundError:
                await js.create_key_value(bucket=name, **settings)
        config = (await reader.stream_info(f"KV_{bucket}")).config
        if not config.allow_atomic:
            await js.update_stream(dataclasses.replace(config, allow_atomic=True))
        try:
            await reader.stream_info(self._audit)
        except nats.js.errors.NotFoundError:
            age = AUDIT_DAYS * 86400
            config = api.StreamConfig(
                name=self._audit, subjects=[self._audit_subject], max_age=age, num_replicas=replicas
            )
            await js.add_stream(config)

    @property
    def _audit(self) -> str:
        return f"{self.where.bucket}_audit"

    @property
    def _audit_subject(self) -> str:
        return f"vaurien.{self.where.bucket}.audit"

    # Following the bucket.

    async def _read(self) -> Any:
        """Know all entries; returns the watcher for what comes after them.

        It asks three times, one answer after the other: where a machine is busy, each takes its time.
        """
        connection, reader, name = self._connections, self._reader, f"KV_{self.where.bucket}"
        newest = (await reader.stream_info(name)).state.last_seq
        kv = KeyValue(self.where.bucket, name, f"$KV.{self.where.bucket}.", reader, direct=False)
        watcher: Any = await kv.watchall(inactive_threshold=_IDLE)
        entries: dict[str, Stored] = {}
        removed: dict[str, int] = {}
        try:
            while True:
                async with asyncio.timeout(_READ):
                    entry = await watcher.updates(timeout=_READ)
                if entry is None:
                    break
                newest = max(newest, entry.revision)
                if entry.operation is None:
                    entries[entry.key] = Stored(entry.value or b"", entry.revision, entry.created.timestamp())
                else:
                    removed[entry.key] = entry.revision
            if connection != self._connections:
                raise StoreAway(f"NATS at {self.where} was away")
        except BaseException:
            await _stop(watcher)
            raise
        self._entries, self._removed = entries, removed
        self._received = self._written = newest
        return watcher

    async def _follow(self, watcher: Any) -> None:
        """Apply what *watcher* brings, for ever; read everything again when something is missing."""
        while True:
            tasks = [asyncio.create_task(each) for each in (self._look(), self._receive(watcher), self._mend())]
            try:
                await self._again.wait()
            finally:
                await end_tasks(*tasks)
            await _stop(watcher)
            watcher = await self._read_again()

    async def _read_again(self) -> Any:
        """Know all entries again, at the first try that the store answers; returns the watcher.

        A new connection begins a new try at once: what was asked on the one before it is not answered any more.
        """
        while True:
            self._again.clear()
            self._complete = False
            reading = asyncio.create_task(self._read_or_make())
            self._reading.add(reading)
            reading.add_done_callback(self._read_is_over)
            again = asyncio.create_task(self._again.wait())
            try:
                await asyncio.wait({reading, again}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                again.cancel()
            if not reading.done():
                continue
            try:
                watcher = reading.result()
            except Exception as error:  # whatever the client library makes of an answer, or of none
                self._set_trouble(f"NATS at {self.where} is away: {_reason(error)}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SECOND_LOOK):
                        await self._again.wait()
            else:
                self.on_change()
                return watcher

    def _read_is_over(self, reading: asyncio.Task[Any]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # nobody else asks for that of one that did not count any more

    async def _read_or_make(self) -> Any:
        """Read; make first what is to be read where it is missing."""
        if self._over:
            await self._connect()
        try:
            return await self._read()
        except nats.js.errors.NotFoundError:  # a server that came back without its files
            await self._make()
            return await self._read()

    async def _mend(self) -> None:
        """See that the store has all that it needs, and has all lines of the audit trail.

        It comes behind the entries: nodes need not wait for it, edits have to.
        """
        while not self._again.is_set():
            try:
                if not self._complete:
                    await self._make()
                    self._complete = True
                    self._set_trouble(None)
            except Exception as error:  # as in `_read_again`
                self._set_trouble(f"NATS at {self.where} is away: {_reason(error)}")
                await asyncio.sleep(_SECOND_LOOK)
                continue
            await self._record_all()
            await asyncio.sleep(_LOOK)

    async def _receive(self, watcher: Any) -> None:
        async for entry in watcher:
            if entry is None:
                continue
            self._received = max(self._received, entry.revision)
            known = self._entries.get(entry.key)
            if entry.revision <= max(known.revision if known else 0, self._removed.get(entry.key, 0)):
                continue  # our own write, which we know
            if entry.operation is None:
                self._entries[entry.key] = Stored(entry.value or b"", entry.revision, entry.created.timestamp())
                self._removed.pop(entry.key, None)
            else:
                self._entries.pop(entry.key, None)
                self._removed[entry.key] = entry.revision
            self.on_change()

    async def _look(self) -> None:
        """Ask for everything again once a change has not come within two looks.

        What the watcher brought counts, and not our own writes: they are newer than what another node wrote before. A
        store that did not answer is there again once it does, and nothing is missing: not each answer that was late on
        a busy machine shall cost it all entries.
        """
        awaited: int | None = None
        while not self._again.is_set():  # a call of the client may have swallowed that we are cancelled
            calm = awaited is None and self._trouble is None
            pause = _LOOK * random.uniform(0.75, 1.25) if calm else _SECOND_LOOK  # noqa: S311 - spread over the nodes
            await asyncio.sleep(pause)
            before = self._received
            try:
                newest = (await self._jetstream(_LOOKING).stream_info(f"KV_{self.where.bucket}")).state.last_seq
            except Exception as error:  # as in `_read_again`
                self._set_trouble(f"NATS at {self.where} is away: {_reason(error)}")
                continue
            if awaited is not None and (self._received < awaited or newest < before):
                self._again.set()
            elif self._complete and (awaited is not None or newest == self._received):
                self._set_trouble(None)
            awaited = newest if newest != self._received else None

    async def _remember(self, error: Exception) -> None:
        """What matters of it comes as an error of a call, or as trouble; the reason comes here alone.

        A server that refuses a login says so, and resets the connection: its word is the reason.
        """
        if "authorization" not in str(self._error).lower():
            self._error = error

    async def _gone(self) -> None:
        self._set_trouble(f"NATS at {self.where} is away")

    async def _back(self) -> None:
        self._connections += 1
        self._again.set()

    async def _ended(self, client: Client) -> None:
        """A server has refused the connection by an error of the protocol: for the client library that is the end."""
        if client is self._client:
            self._over = True
            self._connections += 1
            self._again.set()

    def _set_trouble(self, trouble: str | None) -> None:
        news = (self._trouble is None) != (trouble is None)
        self._trouble = trouble
        if news:
            self.on_change()

    # Writing.

    async def write(self, changes: Sequence[KeyChange]) -> Sequence[int]:
        """Make all changes or none. Raises `Outdated`, `StoreAway` and `Unanswered`."""
        if not changes:
            return ()
        most = self._connected().max_payload - _AUDITED
        for change in changes:
            if change.value is not None and len(change.value) > most:
                wanted = (
                    f"at most {most}: the NATS server takes no more (max_payload), the line of the audit trail included"
                )
                raise VaurienError(f"entry {change.key!r} has {len(change.value)} bytes; expected {wanted}")
        written = await self._compare_and_set(self.where.bucket, changes, self._removed)
        for change, revision in zip(changes, written, strict=True):
            known = self._entries.get(change.key)
            if max(known.revision if known else 0, self._removed.get(change.key, 0)) >= revision:
                continue  # it came to our watcher before this answer did
            if change.value is None:
                self._entries.pop(change.key, None)
                self._removed[change.key] = revision
            else:
                self._entries[change.key] = Stored(change.value, revision, time.time() + self.offset)
                self._removed.pop(change.key, None)
        self._written = max(self._written, written[-1])
        self.on_change()
        return written

    async def put(self, key: str, value: bytes, *, revision: int, ttl: float | None = None) -> int:
        """Write. Raises as `write` does."""
        return (await self.write([KeyChange(key, value, revision, ttl)]))[0]

    async def delete(self, key: str, *, revision: int) -> None:
        """Remove. Raises as `write` does."""
        await self.write([KeyChange(key, None, revision)])

    async def claim(self, key: str, value: bytes, *, revision: int) -> int:
        """Write a claim. Raises `Outdated` and `StoreAway`."""
        began = time.time()
        written = (await self._compare_and_set(f"{self.where.bucket}_nodes", [KeyChange(key, value, revision)], {}))[0]
        if time.monotonic() < self._measured + _MEASURE:
            return written
        with contextlib.suppress(*_GONE):
            stored = await self._js.get_msg(f"KV_{self.where.bucket}_nodes", seq=written)
            if stored.time is not None:
                self.offset = stored.time.timestamp() - began
                self._measured = time.monotonic()
        return written

    async def release(self, key: str, *, revision: int) -> None:
        """End a claim. Raises `Outdated` and `StoreAway`."""
        await self._compare_and_set(f"{self.where.bucket}_nodes", [KeyChange(key, None, revision)], {})

    async def _compare_and_set(
        self, bucket: str, changes: Sequence[KeyChange], removed: Mapping[str, int]
    ) -> Sequence[int]:
        """Make all *changes* of *bucket*, or none. A key that shall not exist may have a mark of its end: *removed*."""
        expected = {one.key: one.revision or removed.get(one.key, 0) for one in changes}
        for _ in range(3):
            try:
                return await self._publish(bucket, changes, expected)
            except nats.js.errors.NoStreamResponseError as error:
                raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
            except nats.js.errors.APIError as error:
                if error.err_code not in _WRONG_REVISION:
                    raise StoreAway(f"NATS at {self.where} refuses: {error.description}") from None
            except _GONE as error:
                reason = f"NATS at {self.where} does not answer: {_reason(error)}"
                raise Unanswered(f"{reason}; the change may have been made, as a whole, or not at all") from None
            before = dict(expected)
            for one in changes:
                if not one.revision:
                    expected[one.key] = await self._mark_of_end(bucket, one.key)
            if expected == before:
                break
        raise Outdated(", ".join(expected), max(one.revision for one in changes))

    async def _publish(self, bucket: str, changes: Sequence[KeyChange], expected: Mapping[str, int]) -> Sequence[int]:
        """Publish *changes* if the last messages of their keys are *expected*: several as one atomic batch."""
        js, client = self._js, self._connected()
        # "JetStream Batch Publishing" in the documentation of NATS: nothing is checked or kept before the commit
        batch = {"Nats-Batch-Id": uuid.uuid4().hex} if len(changes) > 1 else {}
        messages = []
        for number, one in enumerate(changes, 1):
            headers = {**batch, _EXPECT: str(expected[one.key])}
            if batch:
                headers["Nats-Batch-Sequence"] = str(number)
            ttl = one.ttl
            if one.value is None:
                headers[_OPERATION] = "DEL"
                ttl = _TOMBSTONE if bucket == self.where.bucket else None
            if ttl is not None:
                headers["Nats-TTL"] = str(math.ceil(ttl))  # whole seconds, and no less than one
            messages.append((f"$KV.{bucket}.{one.key}", one.value or b"", headers))
        for subject, value, headers in messages[:-1]:
            await client.publish(subject, value, headers=headers)
        subject, value, headers = messages[-1]
        commit = {"Nats-Batch-Commit": "1"} if batch else {}
        answer = await js.publish(subject, value, headers={**headers, **commit}, timeout=_TIMEOUT)
        return range(answer.seq - len(changes) + 1, answer.seq + 1)

    async def _mark_of_end(self, bucket: str, key: str) -> int:
        """The revision of the mark that *key* was removed, 0: there is nothing. Raises `Outdated` when it exists."""
        try:
            last = await self._js.get_last_msg(f"KV_{bucket}", f"$KV.{bucket}.{key}")
        except nats.js.errors.NotFoundError:
            return 0
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        headers = last.headers or {}
        if _OPERATION not in headers and "Nats-Marker-Reason" not in headers:
            raise Outdated(key, 0)
        return last.seq or 0

    # Claims, audit trail, news.

    async def claims(self) -> Mapping[str, Stored]:
        """All claims. Raises `StoreAway`."""
        found: dict[str, Stored] = {}
        released: set[str] = set()
        try:
            kv = await self._js.key_value(f"{self.where.bucket}_nodes")
            watcher: Any = await kv.watchall(inactive_threshold=_IDLE_READ)
            try:
                while (entry := await watcher.updates(timeout=_TIMEOUT)) is not None:
                    if entry.operation is None:
                        found[entry.key] = Stored(entry.value, entry.revision, entry.created.timestamp())
                    else:
                        released.add(entry.key)
            finally:
                await _stop(watcher)
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        oldest = time.time() + self.offset - CLAIM_TTL
        for key, stored in self._claims.items():  # one that is renewed while NATS lists them may be left out
            if key not in found and key not in released and stored.at > oldest:
                found[key] = stored
        self._claims = found
        return found

    async def record(self, value: bytes) -> None:
        """Add to the audit trail, now or when the store is back."""
        self._unrecorded.append((uuid.uuid4().hex, value))
        await self._record_all()

    async def _record_all(self) -> None:
        """Send what the audit trail lacks, as far as the store takes it; it drops what it has by the identity."""
        async with self._recording:
            with contextlib.suppress(*_GONE, StoreAway):
                while self._unrecorded:
                    identity, value = self._unrecorded[0]
                    await self._reader.publish(self._audit_subject, value, headers={"Nats-Msg-Id": identity})
                    self._unrecorded.popleft()

    async def records(self, count: int) -> list[bytes]:
        """The end of the audit trail. Raises `StoreAway`."""
        found: list[bytes] = []
        try:
            state = (await self._js.stream_info(self._audit)).state
            for number in range(max(1, state.first_seq, state.last_seq - count + 1), state.last_seq + 1):
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    found.append((await self._js.get_msg(self._audit, seq=number)).data or b"")
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        return found

    def tell(self, subject: str, value: bytes) -> None:
        """Publish, without waiting and without a promise."""
        client = self._client
        if client is not None and client.is_connected and len(self._telling) < BEHIND:
            task = asyncio.get_running_loop().create_task(self._tell(client, subject, value))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, client: Client, subject: str, value: bytes) -> None:
        with contextlib.suppress(*_GONE):
            await client.publish(f"vaurien.{self.where.bucket}.{subject}", value)

    async def listen(self, subject: str) -> AsyncGenerator[bytes, None]:
        """What is told from now on, also after the store was away. Raises `StoreAway`."""
        listener = _Listener(f"vaurien.{self.where.bucket}.{subject}.>")
        client = self._connected()
        try:
            await listener.subscribe(client)
            await client.flush(1)
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        self._listeners.add(listener)

        async def end() -> None:
            self._listeners.discard(listener)
            await listener.end()

        return until_closed(listener.heard, end)


class _Listener:
    """Hears what is told on *subject*, by one client after the other."""

    def __init__(self, subject: str) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue(BEHIND)
        self._subject = subject
        self._subscription: Subscription | None = None

    async def subscribe(self, client: Client) -> None:
        self._subscription = await client.subscribe(self._subject, cb=self._hear)

    async def _hear(self, message: Msg) -> None:
        if not self.heard.full():
            self.heard.put_nowait(message.data)

    async def end(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(*_GONE):
                await self._subscription.unsubscribe()


async def _stop(watcher: Any) -> None:
    """Have *watcher* bring nothing more; else the client library would keep it for ever, and have the server do so."""
    with contextlib.suppress(*_GONE):
        async with asyncio.timeout(1):
            await watcher.stop()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
