"""PostgreSQL as Django's backend reaches it, with limits that hold while the server is stopped.

limits    how long anything waits for an answer, and what happens after that
session   requirements of a new connection, also through a pooler
base      the backend
"""
