"""Monitoring of the running service.

heartbeats        the processes that are alive
backlog           the oldest due row of each kind of work
status            both, for /statusz
database_gauges   gauges read from the database, for /metrics
alerts            e-mails and webhook calls to the operators
error_log         error responses, stored for support
table_growth      the bound of every table
"""
