"""Observers: they turn events into lines, figures and datagrams, one file for each.

    engine ── Event ──► observer(event)        in the loop's thread, for each event, in order
                           │
                           ├── log, trace      lines in a file            `LineFile` tells of those that are lost
                           ├── statsd          datagrams
                           ├── prometheus      figures, when they are scraped
                           └── counters, hits  figures, when a test or the HTTP interface asks

An observer is any callable of one event. It must not wait and cannot change anything; one that raises is reported and
stops nothing (`vaurien.events.tell`). Making an event costs time on the data path, so an observer names the kinds that
it does not need in ``ignores``, and only one with ``detailed`` gets every decision and delay.
"""
