"""What providers of generated media have in common here: jobs that go as planned, their files and
the webhooks that tell of their end."""
