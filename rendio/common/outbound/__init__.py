"""Requests to other services.

http   the HTTP client with limits on time, size and target
http2  POST over HTTP/2
jwks   key sets that issuers publish
"""
