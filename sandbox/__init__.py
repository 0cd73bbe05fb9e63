"""The outside world on loopback: what fal and Apple are to us, spoken over real HTTP.

`python -m sandbox` serves it. Each service stands in a folder of its own; `/control/…` drives them.
It knows none of the apps, none of the apps knows it, and its state lives in memory.
"""
