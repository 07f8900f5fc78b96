from __future__ import annotations

pytest_plugins = ["tests.servers", "tests.mail_servers"]
