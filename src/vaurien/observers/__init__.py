"""Observers that come with Vaurien, one file each: a log, totals, and a statsd client."""
