"""The life of a job after it was paid: each module is one thing that can be due.

    submit   hand it to a provider, once          deliveries   what webhooks tell
    poll     look how it goes                     cancel       ask the provider to stop
    store    fetch the result and keep it         settle       the end, and its money
    erase    what a deleted account leaves        remove       pictures that are needed no longer
    stop     what nobody waits for any more       bills        who pays for which end
    hand     what a person does to a job          counting     what providers cost, by days

What is submitted next, and where to, is allotted in one place: `allot` asks `turns` (whose turn it
is) and `room` (what the providers' `breaker`s and limits leave). `failover` goes on to another
route; `dead` keeps what failed for good. `claims` is how all of them take what is due, `pace` how
long a route usually takes, `files` what a result must be like.

At least once: any of these may run twice, late or at the same moment in two processes. A claim
gives a row to one worker for a while; what that worker finds out is recorded only if the row still
is as it was claimed. Nothing slow happens inside a transaction.
"""
