"""The HTTP server of the web processes: gunicorn's processes with a worker class of our own.

gunicorn's threaded worker gives a thread to each connection that sends a request or reads a
response, without a time limit. Here a thread acts for a connection only while there is something to
do: requests are read completely before the application runs, and the part of a response that the
client does not accept at once is sent later (docs/decisions/0023-slow-clients.md,
0044-a-call-stays-in-one-thread.md).
"""
