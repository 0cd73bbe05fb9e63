"""fal: the queue API, its webhooks and its result files."""
