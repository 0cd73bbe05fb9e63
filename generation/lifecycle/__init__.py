"""The life of a paid job. Each module does one kind of due work, or supports those that do.

    submit         submit jobs to a provider, at most once
    poll           poll the provider, and enforce deadlines
    webhooks       store provider webhooks and process them
    store          download the result, moderate it and store it
    convert        convert a video that iPhones cannot play
    cancel         cancel at the provider: users' cancellations and abandoned submissions
    failover       continue on another route, or fail
    settle         end a job and its charge
    transitions    the changes of a job's stage
    submissions    open submissions and their provider handles
    claims         claim due jobs
    concurrency    concurrent calls for many jobs
    attempts       the folder of one attempt to store a result
    cost_rules     who pays for which outcome of a submission
    route_timing   when a route's jobs are first polled, and their progress
    retry_delay    time before the next poll or retry
    dead_letters   work that failed permanently
    manual         staff's changes of a job
    notifications  pushes about the end of a job

generation.dispatch selects what is submitted next; generation.cleanup deletes files and rows.

At least once: any due work may run twice, late, or in two processes at the same time. A claim gives
a row to one worker for a lease. The worker's result is written only if the row is unchanged since
the claim. No transaction contains a slow call.
"""
