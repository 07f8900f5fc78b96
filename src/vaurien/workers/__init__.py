"""Proxies whose connections are spread over several processes, on all cores.

The control process has the hub and everything that people and programs ask. Its workers have the connections. `pool`
starts them and puts another one in the place of one that died, `proxy` is one as the hub sees it, `process` is one
worker as the control process sees it, and `worker` is the program that it runs. They speak `messages` over a `channel`.
"""
