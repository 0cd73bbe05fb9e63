"""/openapi.json: `schema` builds it from the apps' openapi.py, `names` and `shapes` adapt it for
client generators, `views` serves it, `markdown` makes docs/api.md of it."""
