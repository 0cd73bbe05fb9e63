"""Groups of staff, the audit log of their actions, and approvals by a second person."""
