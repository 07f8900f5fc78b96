"""The blocking lane: a thread for each connection on which a legacy plugin acts, and the switch between lanes.

The problem: a legacy plugin is called with the two real sockets of a connection and may block in them for as long as it
likes. The loop cannot wait for it, and every other fault needs the loop.

The way: the mix is drawn once for each *turn*, which is everything the client sends until the backend has answered and
the client speaks again. The draw says which lane the turn needs, and the sockets move there between two reads::

                 the loop's thread                 |            the connection's thread
                                                   |
      readable ──► LaneSwitch.decide               |
                     │ asks LaneDecision           |
          loop ◄─────┤                             |
                     └─ wants_thread               |
                          │ links are drained      |
                          ▼                        |
                      to_thread ───── sockets ─────┼──► BlockingLane: poll, decide, call the plugin ─┐
                                                   |        ▲  └── undisturbed: copy the bytes       │
                                                   |        └───────────── same lane ◄───────────────┤
                      from_thread ◄─── LaneResult ─┼──── a turn is for the loop, or it ends ◄────────┘
                                                   |
      observers ◄── LaneEvents.tell ◄── once a second ── facts of the thread

The thread owns the sockets: it alone reads, writes and closes them. The loop has three orders for it (release, stop,
abandon). To wake a plugin that blocks, it shuts the sockets down, under the lock that closing takes too, so that it
never acts on a descriptor that has been closed and belongs to another connection by then.

A call costs three system calls, as in a bare loop of two sockets: poll, recv, send. Time-outs are the kernel's
(SO_RCVTIMEO), the end of a stream comes with the event (POLLRDHUP), and the loop is not woken for each call: counters
are plain numbers that it reads when it is asked, facts for observers wait in a queue.

What it does not do: no fault but a legacy plugin acts on bytes that the thread moves, and the protocol does not frame
them. A turn that needs either is handed back.
"""
