"""The playground: one page at `/` that does in a browser what the app does on a phone.

Its scripts speak to the API like a phone. Python serves the page, and passes on the sandbox's
controls that the page has buttons for. Off unless PLAYGROUND is set.
"""
