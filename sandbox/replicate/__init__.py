"""Replicate: predictions, and webhooks signed as Standard Webhooks says."""
