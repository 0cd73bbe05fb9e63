"""The state of the service: dashboards, provider health, alerts, the error log, incidents."""
