"""Fuzz the framer of SMTP."""

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.protocols.smtp import Smtp

from framer import fuzz

GREETED = [b"", b"220-mx\r\n220 hi\r\n"]

fuzz(
    Smtp(),
    [
        [
            *GREETED,
            b"MAIL FROM:<a@x>\r\nRCPT TO:<@r:b@y>\r\nDATA\r\n",
            b"250 ok\r\n250 ok\r\n354 go\r\n",
            b"hi\r\n..\r\n.\r\nQUIT\r\n",
            b"250 ok\r\n221 bye\r\n",
        ],
        [*GREETED, b"DATA\r\n", b"354 go\r\n", b".\r\n", b"421 no\r\n"],
        [*GREETED, b"BDAT 3\r\nabcBDAT 0 LAST\r\n", b"250 ok\r\n250-a\r\n250 b\r\n"],
        [*GREETED, b"AUTH LOGIN\r\n", b"334 x\r\n", b"dQ==\r\n", b"235 ok\r\n"],
        [*GREETED, b"STARTTLS\r\n", b"220 go\r\n", b"\x16\x03", b"\x16\x03"],
    ],
)
