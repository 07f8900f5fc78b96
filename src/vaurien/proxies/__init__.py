"""Proxies that run: one, one as the hub manages it, and all of them by name.

    interfaces, files, schedules
            │  edits: Config ─► Config
            ▼
          Hub ────────────── holds the configuration of all proxies, and reconciles what runs with it
            │
            ▼
       ManagedProxy ──────── the port between the hub and a proxy, wherever its connections are
        │         │
        ▼         ▼
    LocalProxy  WorkersProxy (package `workers`)
        │         ┆
        ▼         ▼
      Proxy ──────────────── one proxy in one event loop

There is nothing here about bytes: that is the engine's.
"""
