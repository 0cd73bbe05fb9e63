"""Shared parts of all apps' API views: base classes, fields, parsers, rate limits, middleware."""
