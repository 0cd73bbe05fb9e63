"""Work outside of requests: what workers, beat and threads share.

due_work   the declaration of each kind of due work; task, schedule and gauge follow from it
due_rows   rows with a due time: claim them, work on each, claim more
wakeup     messages after a commit that tell workers to look now
purge      deletion of old rows in small transactions
shutdown   whether this worker is to end
threads    background threads that survive exceptions
broker     a fix for kombu's Redis channel
"""
