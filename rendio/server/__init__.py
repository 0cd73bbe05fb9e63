"""The HTTP server of the web processes: gunicorn's processes and HTTP parser with an event loop of
our own.

gunicorn's threaded worker gives a thread to each connection that sends a request or reads a
response, for as long as the client likes. Here one loop in each process reads every request
completely, and sends what a client does not accept at once; threads only run the application
(docs/decisions/0023-slow-clients.md).
"""
