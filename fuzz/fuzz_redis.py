"""Fuzz the framer of Redis."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.redis import RedisProtocol

from framer import fuzz

fuzz(
    RedisProtocol(),
    [
        [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\nPING 'x'\r\n", b"+OK\r\n$1\r\nx\r\n"],
        [b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", b"%1\r\n+a\r\n|1\r\n_\r\n#t\r\n~?\r\n,1\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n"],
        [
            b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
            b"*1\r\n$11\r\nUNSUBSCRIBE\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n",
        ],
        [b"MONITOR\r\n", b'+OK\r\n+1.000001 [0 a:1] "x"\r\n', b"RESET\r\n", b"+RESET\r\n"],
        [b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n", b"+FULLRESYNC a 0\r\n$5\r\nREDIS"],
        [b"MULTI\r\nCLIENT REPLY OFF\r\nEXEC\r\nCLIENT REPLY SKIP\r\n", b"+OK\r\n+QUEUED\r\n*0\r\n"],
        [
            b"CLIENT REPLY SKIP\r\nGET k\r\nPING\r\n",
            b"-NOAUTH no\r\n$1\r\nx\r\n+PONG\r\n",
            b"GET \"a\\x41\" 'b'\n",
            b":1\r\n",
        ],
        [b"MULTI\r\nCLIENT REPLY OFF\r\nGET k\r\nCLIENT REPLY ON\r\n", b"-NOPERM no\r\n+OK\r\n"],
        [b"CLIENT REPLY SKIP\r\nSUBSCRIBE a\r\n", b"-NOPERM client\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"],
        [b"*6\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$1\r\n1\r\n$7\r\nSTREAMS\r\n$1\r\nk\r\n$1\r\n0\r\n", b"*-1\r\n"],
    ],
)
