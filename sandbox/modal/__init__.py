"""Modal with our own app (`ops/modal`): calls, and webhooks without a signature."""
