"""How fast Vaurien is, as ratios to HAProxy in one interleaved run. ``python -m benchmarks --help``."""
