"""Reports for the dashboards.

daily_rollups      daily totals of jobs, credits and sales, refreshed by a worker
jobs, finance      charts and tables of a period, from the daily totals
live               the current status
charts             SVG charts without JavaScript
price_simulation   credits and margins at other prices

Reports of a period read only the daily totals, so a page costs the same however many rows are
stored. Each page says when the totals were refreshed.
"""
