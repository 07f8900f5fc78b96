"""The store in NATS JetStream: a key-value bucket that nodes watch, one for claims, a stream for the audit trail.

NATS sends each change of the bucket to each node once. What may go wrong between two servers of a cluster, or while one
is away, is found by looking every two seconds whether the newest revision is known here: if not, all is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import ssl
import time
import urllib.parse
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from vaurien.errors import OptionError
from vaurien.fleet.store import (
    BEHIND,
    CLAIM_TTL,
    Outdated,
    StoreAway,
    Stored,
    end_tasks,
    nothing,
    until_closed,
    without_login,
)

_EXPECT = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"
_WRONG_REVISION = (10071, 10164)
"""Codes of JetStream's error for a compare-and-set that met another sequence."""

_TIMEOUT = 5.0
"""Seconds that a call may take: an election of the store's own leader takes about as long."""

_READ = 2.0
"""Seconds that a call may take which only reads, and is made again: an answer may be lost with its connection."""

_CONNECT = 3.0
"""Seconds that a first connection may take, over all servers."""

_LOOK, _SECOND_LOOK = 2.0, 0.5
"""Seconds between two looks whether all changes have come; and from one that missed some to the next."""

_MEASURE = 10.0
"""Seconds between two looks how far this machine's clock is from the store's."""

_TOMBSTONE = 3600.0
"""Seconds that a removed key is remembered for watchers that were away; after that they read everything anyway."""

AUDIT_DAYS = 30

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
        self._revision = 0
        self._trouble: str | None = "not connected yet"
        self._following: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None
        self._again = asyncio.Event()
        """Everything has to be read again."""

    @property
    def entries(self) -> Mapping[str, Stored]:
        """What is in the bucket, as far as it is known here."""
        return MappingProxyType(self._entries)

    @property
    def revision(self) -> int:
        """The newest revision that is known here."""
        return self._revision

    @property
    def trouble(self) -> str | None:
        """Why `entries` may be old."""
        return self._trouble

    # Life.

    async def open(self) -> None:
        """Connect, make what is missing, and know all entries. Raises `StoreAway`."""
        where = self.where
        options: dict[str, Any] = {"user_credentials": where.credentials, "nkeys_seed": where.nkey}
        options["reconnect_time_wait"] = 0.2
        if where.ca is not None:
            options["tls"] = ssl.create_default_context(cafile=where.ca)
        try:
            self._client, self._error = Client(), None
            async with asyncio.timeout(_CONNECT):
                await self._client.connect(
                    list(where.servers),
                    connect_timeout=1,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    ping_interval=2,
                    max_outstanding_pings=2,
                    error_cb=self._remember,
                    disconnected_cb=self._gone,
                    reconnected_cb=self._back,
                    **{name: value for name, value in options.items() if value is not None},
                )
            await self._make()
            watching = await self._read()
        except StoreAway:
            await self.close()
            raise
        except _GONE as error:
            await self.close()
            raise StoreAway(f"no NATS with JetStream at {where}: {_reason(self._error or error)}") from None
        self._set_trouble(None)
        self._following = asyncio.create_task(self._follow(watching))

    async def close(self) -> None:
        """End the connection."""
        if self._following is not None:
            self._again.set()
            await end_tasks(self._following)
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
        if self._client is None or not self._client.is_connected:  # else the client would say it later
            raise StoreAway(f"NATS at {self.where} is away")
        return self._client.jetstream(timeout=timeout)

    async def _make(self) -> None:
        """Make the buckets and the stream, unless they exist. Raises `StoreAway` for a server that is too old."""
        js, reader, bucket, replicas = self._js, self._reader, self.where.bucket, self.where.replicas
        info = await reader.account_info()
        if not info.api.level:
            raise StoreAway(
                f"the NATS server at {self.where} is older than 2.11; expected one with times to live of keys"
            )
        made: Mapping[str, dict[str, Any]] = {
            bucket: {"limit_marker_ttl": _TOMBSTONE, "replicas": replicas},
            f"{bucket}_nodes": {"ttl": CLAIM_TTL, "storage": api.StorageType.MEMORY, "replicas": replicas},
        }
        for name, settings in made.items():
            try:
                await reader.stream_info(f"KV_{name}")
            except nats.js.errors.NotFoundError:
                await js.create_key_value(bucket=name, **settings)
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
        """Know all entries; returns the watcher for what comes after them."""
        started = time.time()
        kv = await self._reader.key_value(self.where.bucket)
        watcher: Any = await kv.watchall()
        entries: dict[str, Stored] = {}
        removed: dict[str, int] = {}
        revision = 0
        while True:
            async with asyncio.timeout(_READ):
                entry = await watcher.updates(timeout=_READ)
            if entry is None:
                break
            revision = max(revision, entry.revision)
            if entry.operation is None:
                entries[entry.key] = Stored(entry.value or b"", entry.revision, entry.created.timestamp())
            else:
                removed[entry.key] = entry.revision
        state = (await self._reader.stream_info(f"KV_{self.where.bucket}")).state
        self._entries, self._removed = entries, removed
        self._revision = max(revision, state.last_seq) if time.time() - started < _TIMEOUT else revision
        return watcher

    async def _follow(self, watcher: Any) -> None:
        """Apply what *watcher* brings, for ever; read everything again when something is missing."""
        while True:
            looking = asyncio.create_task(self._look())
            receiving = asyncio.create_task(self._receive(watcher))
            try:
                await self._again.wait()
            finally:
                await end_tasks(looking, receiving)
            with contextlib.suppress(*_GONE):
                async with asyncio.timeout(1):
                    await watcher.stop()
            watcher = await self._read_again()

    async def _read_again(self) -> Any:
        while True:
            self._again.clear()
            try:
                await self._make()
                watcher = await self._read()
            except (*_GONE, StoreAway) as error:
                self._set_trouble(f"NATS at {self.where} is away: {_reason(error)}")
                await asyncio.sleep(0.5)
            else:
                self._trouble = None
                self.on_change()
                return watcher

    async def _receive(self, watcher: Any) -> None:
        async for entry in watcher:
            if entry is None:
                continue
            self._revision = max(self._revision, entry.revision)
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
        """Ask for everything again once a change has not come within two looks, or JetStream does not answer."""
        missing = 0
        while not self._again.is_set():  # a call of the client may have swallowed that we are cancelled
            pause = _SECOND_LOOK if missing else _LOOK * random.uniform(0.75, 1.25)  # noqa: S311 - spread over the nodes
            await asyncio.sleep(pause)
            try:
                state = (await self._reader.stream_info(f"KV_{self.where.bucket}")).state
            except (*_GONE, StoreAway) as error:
                self._set_trouble(f"NATS at {self.where} is away: {_reason(error)}")
                missing += 1
            else:
                missing = 0 if state.last_seq == self._revision else missing + 1
                if self._trouble is not None:
                    missing = 2
            if missing >= 2:
                self._again.set()

    async def _remember(self, error: Exception) -> None:
        """What matters of it comes as an error of a call, or as trouble; the reason comes here alone.

        A server that refuses a login says so, and resets the connection: its word is the reason.
        """
        if "authorization" not in str(self._error).lower():
            self._error = error

    async def _gone(self) -> None:
        self._set_trouble(f"NATS at {self.where} is away")

    async def _back(self) -> None:
        self._again.set()

    def _set_trouble(self, trouble: str | None) -> None:
        news = (self._trouble is None) != (trouble is None)
        self._trouble = trouble
        if news:
            self.on_change()

    # Writing.

    async def put(self, key: str, value: bytes, *, revision: int, ttl: float | None = None) -> int:
        """Write. Raises `Outdated` and `StoreAway`."""
        written = await self._write(self.where.bucket, key, value, revision or self._removed.get(key, 0), ttl, revision)
        self._removed.pop(key, None)
        known = self._entries.get(key)
        if known is None or known.revision < written:
            self._entries[key] = Stored(value, written, time.time() + self.offset)
            self._revision = max(self._revision, written)
            self.on_change()
        return written

    async def delete(self, key: str, *, revision: int) -> None:
        """Remove. Raises `Outdated` and `StoreAway`."""
        headers = {_OPERATION: "DEL"}
        written = await self._write(self.where.bucket, key, b"", revision, _TOMBSTONE, revision, headers)
        known = self._entries.get(key)
        if known is not None and known.revision < written:
            del self._entries[key]
            self._removed[key] = written
            self._revision = max(self._revision, written)
            self.on_change()

    async def claim(self, key: str, value: bytes, *, revision: int) -> int:
        """Write a claim. Raises `Outdated` and `StoreAway`."""
        began = time.time()
        written = await self._write(f"{self.where.bucket}_nodes", key, value, revision, None, revision)
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
        headers = {_OPERATION: "DEL"}
        await self._write(f"{self.where.bucket}_nodes", key, b"", revision, None, revision, headers)

    async def _write(
        self,
        bucket: str,
        key: str,
        value: bytes,
        expected: int,
        ttl: float | None,
        revision: int,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        """Publish if the last message of *key* is *expected*; a key that shall not exist may have a mark of its end."""
        subject = f"$KV.{bucket}.{key}"
        msg_ttl = None if ttl is None else max(1.0, ttl)  # the least that JetStream takes
        for _ in range(3):
            told = {**headers, _EXPECT: str(expected)}
            try:
                answer = await self._js.publish(subject, value, headers=told, timeout=_TIMEOUT, msg_ttl=msg_ttl)
            except nats.js.errors.APIError as error:
                if error.err_code not in _WRONG_REVISION:
                    raise StoreAway(f"NATS at {self.where} refuses: {error.description}") from None
                other = None if revision else await self._mark_of_end(bucket, subject)
                if other is None or other == expected:
                    raise Outdated(key, revision) from None
                expected = other
            except _GONE as error:
                raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
            else:
                return answer.seq
        raise Outdated(key, revision)

    async def _mark_of_end(self, bucket: str, subject: str) -> int | None:
        """The revision of the mark that *subject* was removed, 0 when nothing is left of it; ``None``: it exists."""
        try:
            last = await self._js.get_last_msg(f"KV_{bucket}", subject)
        except nats.js.errors.NotFoundError:
            return 0
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        headers = last.headers or {}
        ended = _OPERATION in headers or "Nats-Marker-Reason" in headers
        return last.seq if ended else None

    # Claims, audit trail, news.

    async def claims(self) -> Mapping[str, Stored]:
        """All claims. Raises `StoreAway`."""
        found: dict[str, Stored] = {}
        try:
            kv = await self._js.key_value(f"{self.where.bucket}_nodes")
            watcher: Any = await kv.watchall(ignore_deletes=True)
            while (entry := await watcher.updates(timeout=_TIMEOUT)) is not None:
                found[entry.key] = Stored(entry.value, entry.revision, entry.created.timestamp())
            await watcher.stop()
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None
        return found

    async def record(self, value: bytes) -> None:
        """Add to the audit trail. Raises `StoreAway`."""
        try:
            await self._js.publish(self._audit_subject, value, timeout=_TIMEOUT)
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None

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
        heard: asyncio.Queue[bytes] = asyncio.Queue(BEHIND)

        async def hear(message: Msg) -> None:
            if not heard.full():
                heard.put_nowait(message.data)

        client = self._client
        if client is None or not client.is_connected:
            raise StoreAway(f"NATS at {self.where} is away")
        try:
            listening = await client.subscribe(f"vaurien.{self.where.bucket}.{subject}.>", cb=hear)
            await client.flush(1)
        except _GONE as error:
            raise StoreAway(f"NATS at {self.where} does not answer: {_reason(error)}") from None

        async def end() -> None:
            with contextlib.suppress(*_GONE):
                await listening.unsubscribe()

        return until_closed(heard, end)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
