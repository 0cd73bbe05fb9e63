"""Services for staff, by subject: one function for each admin action.

audit, approvals and budgets are shared by all of them.
"""
