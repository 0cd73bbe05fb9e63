"""The HTTP server of the web processes: gunicorn's processes and HTTP parser with an event loop of
our own.

gunicorn's threaded worker gives a thread to each connection that sends a request or reads a
response, without a time limit. Here one loop in each process reads every request completely, and
sends the rest of a response that the client does not accept at once. Threads only run the
application (docs/decisions/0023-slow-clients.md).
"""
