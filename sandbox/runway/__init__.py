"""Runway: tasks that are created, read and deleted. Without webhooks."""
