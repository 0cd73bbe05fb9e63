"""The work of billing's workers; each module handles one or more kinds of due work.

    purchases               sync with the ledger, confirm, name the account to Apple
    notifications           apply what Apple told us; notification_handlers has each type
    notification_backfill   fetch notifications that have not reached us
    subscriptions           ask Apple how a subscription goes on after its end
    consumption             answer Apple's questions about a purchase
    unreadable              read again what Apple signed and nobody could read

At least once: a due row is leased to one worker for a while, and handling it twice changes nothing.
"""
