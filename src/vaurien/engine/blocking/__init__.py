"""The blocking lane: a thread for legacy plugins, and the switch between lanes."""
