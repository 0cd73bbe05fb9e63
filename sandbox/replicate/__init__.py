"""Replicate: predictions, trainings, models, and webhooks signed as Standard Webhooks says."""
