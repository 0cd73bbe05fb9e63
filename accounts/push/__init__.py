"""Push notifications to iPhones.

    outbox    due rows, written in the transaction of the reported event
    sending   sends due rows and records Apple's response
    messages  the texts, in the customer's language

accounts/apple/apns.py is the client of Apple's push service, accounts/apple/apns_token.py its
provider token.

Guarantee: only committed facts are sent, at least once to each iPhone that the user had registered
by then, until PUSH_EXPIRY_HOURS have passed. A worker that dies between Apple's response and our
commit sends again with the same apns-id and apns-collapse-id, so that the phone shows one
notification. Late is harmless. A phone that has another user by now gets nothing.
"""
