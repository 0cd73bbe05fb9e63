"""fal: the queue that runs models, its webhooks and the files it makes."""
