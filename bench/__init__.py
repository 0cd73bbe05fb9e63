"""Cost of calls, jobs and growth beside the database's own limit.

Linux only (CPU time from /proc), loopback only, servers of its own: `python -m bench`, or `make
bench`. docs/performance.md explains the figures.

rows, limit        what is measured alternately, and the bare transaction that it is compared with
calls, jobs        the rows: single calls, whole jobs through workers
growth, idle       PostgreSQL's cost as tables grow; a minute without traffic
load               the load generator
instant_provider   a stand-in for fal and DeviceCheck
record, report     the judgement, the tables and the plot
"""
