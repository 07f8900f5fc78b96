"""Policies made ready to run: matching, windows, counters, replay, expiry. No sockets."""
