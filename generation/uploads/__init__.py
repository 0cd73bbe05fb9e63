"""Pictures to start a video from: sent in, checked, kept while they are needed.

    api       upload-image                         clamav       what a virus scanner says of it
    receive   from bytes or an address to a row    images       drawing it anew
    direct    straight to the bucket, then here    containers   where a picture ends
    keeping   who may use it, and until when

Nothing that a user sent is stored or shown as it came.
"""
