"""The common parts of the fake providers: scripted jobs, their files and their webhooks."""
