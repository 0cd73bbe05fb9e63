"""Is the whole of it running, is anything late, and who has to hear of it?

heartbeats   which processes were there lately     due      what should have happened by now
status       both together: /statusz               gauges   the database's part of /metrics
alerts       what a person has to hear of
"""
