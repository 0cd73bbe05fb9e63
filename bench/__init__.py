"""Cost of a request: the hot calls under load, beside the database's own limit.

Linux only (CPU time from /proc), loopback only, servers of its own: `python -m bench`, or `make
bench`. docs/performance.md explains the figures.
"""
