"""The HTTP interfaces: `app` puts them together, `server` serves them in the proxies' own loop.

`v1` offers everything; `original` and `toxiproxy` are for the clients of those programs. `security` stands before all.
"""
