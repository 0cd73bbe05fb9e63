"""Live updates: server-sent events of a user's jobs and balance.

`api` answers a request with the present state; the process `python -m rendio.events` (`server`,
`hub`, `streams`) keeps the response open and adds each change.
docs/decisions/0047-live-updates.md has the reasons.
"""
