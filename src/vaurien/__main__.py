"""``python -m vaurien``: the program, where its script is not on the path."""

from __future__ import annotations

import sys

from vaurien.cli.main import main

sys.exit(main())
