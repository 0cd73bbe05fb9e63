"""PostgreSQL as Django's backend reaches it, with limits that hold while the server is stopped.

limits    the limits of waits for an answer, and the reaction to a timeout
session   requirements of a new connection, also through a pooler
base      the backend
"""
