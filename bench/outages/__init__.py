"""Steady load through restarts and hangs of PostgreSQL and Valkey, second by second."""
