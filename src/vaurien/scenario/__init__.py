"""A scenario: proxies, faults that come and go by a schedule, a command that has to live with them, and a report."""
