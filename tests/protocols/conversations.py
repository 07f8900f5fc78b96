"""What clients and servers of each protocol say to each other, in turn: for `check_protocol`."""

from __future__ import annotations

import struct

import hpack

from vaurien.framing import http2 as h2


def command(*words: bytes) -> bytes:
    """A command of Redis."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def packet(sequence: int, payload: bytes) -> bytes:
    """A packet of MySQL."""
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def message(kind: str, body: bytes = b"") -> bytes:
    """A message of PostgreSQL."""
    return kind.encode() + (4 + len(body)).to_bytes(4, "big") + body


def binary(
    magic: int, opcode: int, key: bytes = b"", value: bytes = b"", extras: bytes = b"", opaque: int = 7
) -> bytes:
    """A packet of memcached."""
    body = extras + key + value
    return struct.pack("!BBHBBHIIQ", magic, opcode, len(key), len(extras), 0, 0, len(body), opaque, 0) + body


TCP = [[b"hello", b"hi", b"how are you?", b"fine"], [b"", b"welcome", b"thanks", b"bye"]]

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
HTTP = [
    [GET, OK, GET * 3, OK * 3],
    [b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 204 No\r\n\r\n", GET, OK],
    [b"POST / HTTP/1.1\r\n" + CHUNKED + GET, b"HTTP/1.1 200 OK\r\n" + CHUNKED + OK],
    [b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", GET, OK],
    [
        b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"hi",
        OK,
    ],
    [
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n\x81\x05hello\x89\x00",
        b"\x01\x81abcd\x01\x8a\x80abcd\x80\x81abcd\x02",
        b"\x88\x02\x03\xe8",
    ],
    [b"GET http://u@a:81/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nuntil the end"],
    [b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\nxyz", b"abc", b"def"],
    [b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x01", b"\x16\x03\x03"],
]

VALUE = b"$5\r\nvalue\r\n"
SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
REDIS = [
    [command(b"GET", b"k"), VALUE, command(b"SET", b"k", b"\r\n") * 2, b"+OK\r\n" * 2],
    [b"PING\r\nset k v\r\n", b"+PONG\r\n-READONLY no\r\n", command(b"LRANGE", b"l", b"0", b"9"), b"*2\r\n:1\r\n*0\r\n"],
    [command(b"HELLO", b"3"), b"%1\r\n+proto\r\n:3\r\n", command(b"GET", b"k"), b">2\r\n+invalidate\r\n*0\r\n_\r\n"],
    [command(b"MULTI") + command(b"INCR", b"n") + command(b"EXEC"), b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"],
    [command(b"CLIENT", b"REPLY", b"SKIP") + command(b"GET", b"k") + command(b"PING"), b"+PONG\r\n"],
    [command(b"SUBSCRIBE", b"a", b"b"), SUBSCRIBED + MESSAGE, command(b"PING"), b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"],
    [command(b"MONITOR"), b'+OK\r\n+1.000001 [0 a:1] "x"\r\n', command(b"RESET"), b"+RESET\r\n"],
    [command(b"PSYNC", b"?", b"-1"), b"+FULLRESYNC a 0\r\n$5\r\nREDIS", b"REPLCONF", b"more"],
]

NOOP = binary(0x80, 0x0A, opaque=3), binary(0x81, 0x0A, opaque=3)
MEMCACHE = [
    [b"set k 0 0 2\r\n\r\n\r\nget k l\r\n", b"STORED\r\nVALUE k 0 2\r\n\r\n\r\nEND\r\n", b"get k\r\n", b"END\r\n"],
    [b"set k 0 0 1 noreply\r\nx\r\nincr k 1\r\n", b"CLIENT_ERROR no\r\n", b"version\r\n", b"VERSION 1\r\n"],
    [b"stats\r\nlru_crawler metadump all\r\n", b"STAT a 1\r\nEND\r\nkey=a exp=1\r\nEND\r\n"],
    [b"mg a v k O1 q\r\nms b 1 q\r\nx\r\nmg c v q\r\nmn\r\n", b"VA 1 O1 ka\r\nx\r\nMN\r\n", b"md a\r\n", b"NF\r\n"],
    [
        binary(0x80, 0x01, b"k", b"v", bytes(8)) + binary(0x80, 0x00, b"k"),
        binary(0x81, 0x01) + binary(0x81, 0x00, value=b"v", extras=bytes(4)),
        binary(0x80, 0x0D, b"a", opaque=1) + binary(0x80, 0x0D, b"b", opaque=2) + NOOP[0],
        binary(0x81, 0x0D, b"b", b"v", bytes(4), opaque=2) + NOOP[1],
    ],
    [binary(0x80, 0x10), binary(0x81, 0x10, b"pid", b"1") + binary(0x81, 0x10), *NOOP],
]

GREETING = packet(0, b"\x0a8.0\0" + b"\0" * 13 + b"\x01\x02\x21\2\0\0\0\x15" + b"\0" * 10 + b"scramble\0")
LOGIN = packet(1, b"\x01\x02\0\0" + b"\0" * 28 + b"me\0\0")
MYSQL_OK, EOF = b"\0\0\0\2\0\0\0", b"\xfe\0\0\2\0"
LOGGED_IN = [b"", GREETING, LOGIN, packet(2, MYSQL_OK)]
COLUMN = b"\3def\0\0\0\1a\0\x0c\x21\0\1\0\0\0\3\0\0\0\0\0"
ROWS = b"".join(packet(number, body) for number, body in enumerate((b"\1", COLUMN, EOF, b"\1a", b"\xfb", EOF), 1))
MYSQL = [
    [*LOGGED_IN, packet(0, b"\3SELECT 1"), ROWS, packet(0, b"\x0e"), packet(1, MYSQL_OK)],
    [b"", GREETING, LOGIN, packet(2, b"\xfeother\0"), packet(3, b"x"), packet(4, MYSQL_OK)],
    [*LOGGED_IN, packet(0, b"\x16SELECT ?"), packet(1, b"\0\1" + bytes(10)), packet(0, b"\x0e"), packet(1, MYSQL_OK)],
    [*LOGGED_IN, packet(0, b"\3LOAD"), packet(1, b"\xfbx"), packet(2, b"data") + packet(3, b""), packet(4, MYSQL_OK)],
    [*LOGGED_IN, packet(0, b"\x19\1\0\0\0") + packet(0, b"\x0e"), packet(1, MYSQL_OK), packet(0, b"\1")],
]

STARTUP = (17).to_bytes(4, "big") + (196608).to_bytes(4, "big") + b"user\0me\0\0"
READY = message("Z", b"I")
BEGUN = [STARTUP, message("R", bytes(4)) + message("K", bytes(8)) + READY]
QUERY = message("Q", b"SELECT 1\0")
ROW = message("T") + message("D") + message("C")
PARSE, BIND = message("P", b"s\0SELECT 1\0\0\0"), message("B", b"\0s\0\0\0\0\0\0\0")
EXECUTE, SYNC, FLUSH = message("E", b"\0\0\0\0\0"), message("S"), message("H")
RUN, RAN = BIND + EXECUTE + SYNC, message("2") + ROW + READY
POSTGRES = [
    [*BEGUN, QUERY, ROW + READY, QUERY * 2, (ROW + READY) * 2],
    [(8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"), b"N", *BEGUN, QUERY, message("E") + READY],
    [*BEGUN, PARSE + RUN, message("1") + RAN, RUN, RAN],
    [*BEGUN, PARSE + FLUSH, message("1"), RUN, RAN],
    [*BEGUN, QUERY, message("G"), message("d") + message("c"), message("C") + READY],
    [*BEGUN, QUERY, ROW + READY, message("X")],
]

HELLO = [b"", b"220-mx\r\n220 ESMTP\r\n", b"EHLO me\r\n", b"250-mx\r\n250 PIPELINING\r\n"]
SMTP = [
    [
        *HELLO,
        b"MAIL FROM:<a@x>\r\nRCPT TO:<@r:b@y>\r\nDATA\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        b"Subject: x\r\n\r\n..\r\nhi\r\n.\r\n",
        b"250 queued\r\n",
        b"QUIT\r\n",
        b"221 bye\r\n",
    ],
    [*HELLO, b"BDAT 3\r\nabcBDAT 0 LAST\r\n", b"250 ok\r\n250-a\r\n250 b\r\n", b"RSET\r\n", b"250 ok\r\n"],
    [*HELLO, b"AUTH LOGIN\r\n", b"334 VXNlcg==\r\n", b"dQ==\r\n", b"235 ok\r\n", b"NOOP\r\n", b"250 ok\r\n"],
    [*HELLO, b"STARTTLS\r\n", b"220 go\r\n", b"\x16\x03\x01", b"\x16\x03\x03"],
    [*HELLO, b"DATA\r\n", b"503 MAIL first\r\n", b"", b"421 timeout\r\n"],
]


def asks(stream: int, *fields: tuple[str, str], end: bool = True) -> bytes:
    """A request of HTTP/2, whose sender has no table."""
    return h2.headers(stream, h2_block((":method", "GET"), (":path", "/a?b"), *fields), end=end)


def h2_block(*fields: tuple[str, str]) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)


SETTINGS, SETTLED = h2.settings([(h2.Setting.MAX_CONCURRENT_STREAMS, 100)]), h2.frame(h2.SETTINGS, h2.ACK, 0)
GREETED = h2.PREFACE + h2.settings([(h2.Setting.ENABLE_PUSH, 0), (h2.Setting.INITIAL_WINDOW_SIZE, 70_000)])
STATUS, TRAILERS = h2_block((":status", "200"), ("server", "x")), h2_block(("grpc-status", "0"))
HTTP2 = [
    [
        b"",
        SETTINGS,
        GREETED + SETTLED + asks(1),
        SETTLED + h2.headers(1, STATUS, end=False) + h2.data(1, b"ok", end=True),
    ],
    [
        b"",
        SETTINGS,
        GREETED + asks(1, end=False) + asks(3) + h2.data(1, b"more", end=False),
        SETTLED + h2.headers(3, STATUS, end=True) + h2.headers(1, h2_block((":status", "103")), end=False),
        SETTLED + h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\2abcc") + h2.window_update(1, 5),
        h2.headers(1, STATUS, end=False) + h2.data(1, b"body", end=False) + h2.headers(1, TRAILERS, end=True),
    ],
    [
        b"",
        SETTINGS + h2.window_update(0, 1000),
        GREETED + h2.frame(h2.HEADERS, 0x21, 1, b"\0\0\0\0\x10" + STATUS[:3]) + h2.frame(9, 4, 1, STATUS[3:]),
        h2.headers(1, STATUS, end=True) + h2.frame(h2.PING, 0, 0, bytes(8)),
        asks(3) + asks(5) + h2.rst_stream(1, 8) + h2.frame(h2.PRIORITY, 0, 9, bytes(5)),
        h2.headers(5, STATUS, end=True) + h2.headers(3, STATUS, end=True) + h2.goaway(5, 0, b"bye"),
    ],
]

UNARY = h2_block((":method", "POST"), (":path", "/shop.Cart/Add"), ("grpc-timeout", "1S"), ("user-id", "7"))
FAILED = h2_block((":status", "200"), ("grpc-status", "5"), ("grpc-message", "no"))
GRPC = [
    *HTTP2,
    [
        b"",
        SETTINGS,
        GREETED + SETTLED + h2.headers(1, UNARY, end=False) + h2.data(1, b"\0\0\0\0\1x", end=True),
        SETTLED
        + h2.headers(1, STATUS, end=False)
        + h2.data(1, b"\0\0\0\0\0", end=False)
        + h2.headers(1, TRAILERS, end=True),
        h2.headers(3, UNARY, end=True),
        h2.headers(3, FAILED, end=True),
    ],
]

CONVERSATIONS = {
    "grpc": GRPC,
    "http": HTTP,
    "http2": HTTP2,
    "memcache": MEMCACHE,
    "mysql": MYSQL,
    "postgres": POSTGRES,
    "redis": REDIS,
    "smtp": SMTP,
    "tcp": TCP,
}
