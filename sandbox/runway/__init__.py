"""Runway: tasks that are created, looked at and deleted; there are no webhooks."""
