"""The event loop, its clock, and the tasks of hooks."""
