"""Uploaded images that a video starts from.

    api          the upload calls             clamav       virus scan
    ingest       bytes or URL to Upload       reencoding   decode, encode as a new JPEG
    presigned    upload through the bucket    containers   where an image file ends
    retention    ownership and deletion       quota        storage limits
    concurrency  limits of parallel work

The original file is never stored or shown.
"""
