"""Rendio on one machine: `make run` and the servers that tests use.

`run` is the supervisor behind `make run`, `manage` runs a command beside it, `pytest_plugin` gives
a test run its servers. All build on `home` (the folder that holds everything), `servers`
(PostgreSQL and Valkey from their wheels), `processes` (the application's own processes) and `child`
(one process that cannot outlive us).

Nothing here is imported by the application, and nothing here imports it or Django.
"""
