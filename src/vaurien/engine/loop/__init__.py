"""The event loop, its clock, and the tasks of hooks.

The problem: a readiness callback of asyncio costs a handle and a turn of the loop, its timers are rounded to
milliseconds, and a coroutine costs a task, though most hooks never wait.

The way: the loop calls readiness callbacks where it finds them, timers are on a timerfd, and hooks begin without a
task of their own::

    epoll ──► callback of a socket                        event_loop
    timerfd ─► Clock ──► callback of a timer              clock
    a hook ──► hook_task.start ──► ends: nothing more     hook_task, task_set
                              └──► waits: a task goes on  background_hooks: those of no chunk and no exchange

Where the system has neither, asyncio's own loop and timers do.

What this does not do: it knows no connection.
"""
