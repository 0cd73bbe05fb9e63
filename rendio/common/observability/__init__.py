"""Logs, metrics, traces, Sentry and the request id.

    logs            structured logging with secrets redacted
    request_id      the id that connects a response, its log lines and its tasks
    metrics         counters and histograms of this process, for Prometheus
    metrics_files   the files in which the processes of a server keep their counts
    metrics_folder  the folder of these files
    sentry          errors to Sentry
    tracing         spans for OpenTelemetry

rendio/metrics_endpoint.py serves /metrics; adminops/monitoring/database_gauges.py adds gauges read
from the database.
"""
