"""Figures for the dashboards.

counting   what happened, counted by days          now     how it is at this moment
work       jobs: how many, how long, what failed   money   credits, sales and margin
charts     bars to be drawn without a script

What is counted by days is read from its count, so that a page costs the same however much is
stored; it is as of when it was counted, and says so.
"""
