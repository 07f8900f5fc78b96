from __future__ import annotations

pytest_plugins = ["pytester", "tests.servers", "tests.mail_servers"]
