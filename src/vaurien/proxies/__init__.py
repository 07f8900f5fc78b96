"""Proxies: one, one as the hub manages it, and all of them by name."""
