"""The engine: the only place with sockets, the loop, threads, the clock and entropy. It knows no behavior by name."""
