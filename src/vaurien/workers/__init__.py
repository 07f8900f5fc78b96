"""Proxies whose connections are spread over several processes, so that they use all cores.

    control process                                              worker 1 … N

    hub ── WorkersProxy (one for each proxy)                      Worker
               │                                                    │  a Proxy for each WorkersProxy,
               ▼                                                    │  on listening sockets that came
           WorkerPool ── WorkerProcess ◄══ channel: messages ══►  Channel
               ▲            one for each worker, requests and       │
               │            replies, listening sockets, events      ▼
           observers                                              connections
                            ┌────────── shared counters ──────────┐
                            └ windows and numbers, one file for all ┘

The control process has the hub, the HTTP interfaces and the observers; the workers have the connections. The control
process binds every address once for each worker (SO_REUSEPORT), and the system shares new clients out among the
workers. It keeps these sockets, so that clients which a dead worker had not accepted are there for its successor.

A worker that dies takes its connections with it and nothing else; `WorkerPool` starts another one. A worker that does
not answer is killed. There is no balancing of connections that are open, and no shared state but the counters.
"""
