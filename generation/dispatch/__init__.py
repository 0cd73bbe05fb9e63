"""Selection of the jobs that are submitted next, and of the provider key for each.

scheduler        the transaction that selects jobs and writes down their provider requests
fair_queue       the order of waiting jobs across users
capacity         free slots of each provider key
circuit_breaker  health of each provider key
"""
