"""Pictures to start a video from: sent in, checked, kept while they are needed.

    api       upload-image                         clamav       what a virus scanner says of it
    receive   from bytes or an address to a row    images       drawing it anew
    keeping   who may use it, and until when       containers   where a picture ends

Nothing that a user sent is stored or shown as it came.
"""
