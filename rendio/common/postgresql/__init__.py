"""PostgreSQL as Django's backend reaches it, with limits that hold while the server is stopped.

limits    how long anything waits for an answer, and what happens after that
session   what a new connection must have, also through a pooler
base      the backend
"""
