"""Jobs and their provider requests, the catalogue, and content moderation."""
