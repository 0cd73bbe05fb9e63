"""The HTTP server of the web processes: gunicorn's processes and its HTTP, with a loop of our own.

gunicorn's threaded worker gives a thread to each connection that sends a request or reads an
answer, for as long as the client likes. Here one loop in each process reads every request whole and
sends what a client does not take at once; threads run the application and do nothing else
(docs/decisions/0023-slow-clients.md).
"""
