"""The work of billing's workers; each module handles one or more kinds of due work.

    purchases               sync with the ledger, confirm, update the account token at Apple
    notifications           apply Apple's notifications; notification_handlers has each type
    notification_backfill   fetch notifications that have not reached us
    subscriptions           ask Apple about subscriptions that have reached their end
    consumption             answer Apple's consumption requests
    unreadable              read unreadable payloads again

At least once: a due row is leased to one worker for a while. Handling a row twice changes nothing.
"""
