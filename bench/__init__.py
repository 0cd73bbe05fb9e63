"""What a request costs: the hot calls under load, beside the database's own limit.

Linux only (CPU is read from /proc), loopback only, servers of its own: `python -m bench`, or
`make bench`. docs/performance.md says how to read it.
"""
