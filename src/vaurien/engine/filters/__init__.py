"""The hooked lane: the chain of faults, delay lines, exchanges."""
