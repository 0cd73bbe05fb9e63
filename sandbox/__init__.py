"""The sandbox: fal, Runway, Replicate, Apple and OpenAI served over real HTTP on this machine.

`python -m sandbox` serves it. Each service has its own module or folder; `/control/…` controls
them. The sandbox imports no app, no app imports the sandbox, and its state is in memory.
"""
