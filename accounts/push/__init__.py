"""Telling phones what has happened, through Apple.

    outbox           what is to be told: rows, written in the transaction of what they tell
    sending          what is due goes out, and what Apple says of it
    texts            the words, in the customer's language
    apns             how Apple's push service speaks
    provider_token   who we are to it

Guarantee: what is told was committed, and what was committed is told at least once to each iPhone
that the user had registered by then, until PUSH_EXPIRY_HOURS have passed. A worker that dies
between Apple's answer and our commit sends again, with the same apns-id and apns-collapse-id, so
that the phone shows one. Late is harmless, and a phone that another user has meanwhile is not told.
"""
