"""The program as a process."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

PROGRAM = [sys.executable, "-c", "import sys; from vaurien.cli.main import main; sys.exit(main())"]
BOUND = 60.0


class Program:
    """``vaurien`` in a process of its own."""

    def __init__(self, *arguments, cwd=None):
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
        )
        self.greeting = self.process.stdout.readline().rstrip("\n")
        self.port = int(re.search(r":(\d+) ->", self.greeting)[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), BOUND)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self):
        """Its exit status and what it wrote to standard error."""
        _, err = self.process.communicate(timeout=BOUND)
        return self.process.returncode, err
