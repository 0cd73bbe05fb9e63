"""The audit log, approvals and incidents of staff; the error log, alerts and heartbeats; daily
rollups for the dashboards."""

from __future__ import annotations

from adminops.models.approvals import ApprovalState, PendingApproval
from adminops.models.audit import (
    REASON_MAX,
    REASON_MIN,
    SEE_SENSITIVE,
    SUBJECTS,
    AdminAction,
    AuditLogEntry,
    Subject,
)
from adminops.models.daily_rollups import SEE_MONEY, CountedDay, CreditDay, JobDay, SaleDay
from adminops.models.error_log import ErrorLog
from adminops.models.incidents import Incident, IncidentKind
from adminops.models.monitoring import Alert, Heartbeat

__all__ = [
    "REASON_MAX",
    "REASON_MIN",
    "SEE_MONEY",
    "SEE_SENSITIVE",
    "SUBJECTS",
    "AdminAction",
    "Alert",
    "ApprovalState",
    "AuditLogEntry",
    "CountedDay",
    "CreditDay",
    "ErrorLog",
    "Heartbeat",
    "Incident",
    "IncidentKind",
    "JobDay",
    "PendingApproval",
    "SaleDay",
    "Subject",
]
