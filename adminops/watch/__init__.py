"""Is the whole of it running, and is anything late? For /statusz and /metrics, and for the alerts.

heartbeats   which processes were there lately     due    what should have happened by now
status       both together, as one answer
"""
