"""/openapi.json: `schema` builds it from the apps' openapi.py, `shapes` adapts it for client
generators, `views` serves it, `markdown` makes docs/api.md of it."""
