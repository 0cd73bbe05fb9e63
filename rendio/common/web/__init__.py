"""What the API views of all apps share: base classes, fields, parsers, rate limits, middleware."""
