"""Customers, their devices and sessions, push notifications, and the timeline of a user."""
