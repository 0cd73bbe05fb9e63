"""What can be due in billing: each module is one thing.

    purchases       recorded, and whoever recorded it did not come to settle it
    unconfirmed     named by a phone while Apple could not be asked
    notifications   what Apple told us; effects says what each type of it does
    consumption     Apple asks what was used of a purchase
    subscriptions   at their end, and nobody has told how they go on
    tokens          a guest's purchases that Apple is to name the account in
    unreadable      what Apple signed and nobody could read
    history         what Apple told us and we have not heard
    sweep           what has served its time

At least once, each of them: a row that is due is leased to one worker for a while, and doing it
twice changes nothing.
"""
