"""Descriptions of the calls that answer with events."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from rendio.common.errors import NotFound
from rendio.common.web.openapi import Operation, Operations, Tag
from rendio.events import api

JOB = "01a1fc89-91ea-73fa-8415-4b583de90bfb"
JOB_IN_PATH = OpenApiParameter("job_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The `id` of the last event that arrived: what it tells is not sent again. Without "
    "it, or with an id that is not known, the present state comes first.",
)
COMING_BACK = (
    "The stream closes when it is some ten minutes old, with the session, and when a server "
    "stops. "
    "Come back after `retry` milliseconds with the last `id` as `Last-Event-ID`: no change is "
    "lost, and none is sent twice. Lines that begin with a colon are signs of life."
)
OPERATIONS: Operations = {
    api.VideoJobEvents: Operation(
        tag=Tag.GENERATION,
        summary="Stream the status of a job",
        text="Server-sent events: one `status` event at once and one for each change. The data is "
        "the response of `get-video-status`. The stream closes after the job's end. "
        f"{COMING_BACK}",
        parameters=(JOB_IN_PATH, LAST_EVENT_ID),
        response={"type": "string"},
        media_type="text/event-stream",
        response_example="retry: 2000\n\nevent: status\nid: b1yV8Ck2\n"
        'data: {"job_id": "' + JOB + '", …}\n\n',
        other_statuses={204: "The job has ended, and `Last-Event-ID` is that of its last event."},
        refusals=(NotFound,),
    ),
    api.Events: Operation(
        tag=Tag.GENERATION,
        summary="Stream all changes of the caller",
        text="Server-sent events: the present state first, then each change. `balance` has the "
        "response of `get-user-credits`, `status` that of `get-video-status`, for each job of the "
        f"last 24 hours, at most the newest 100. {COMING_BACK}",
        parameters=(LAST_EVENT_ID,),
        response={"type": "string"},
        media_type="text/event-stream",
        response_example="retry: 2000\n\nevent: balance\nid: 8dJw0q3B\n"
        'data: {"credits_remaining": 6, …}\n\n'
        "event: status\nid: 8dJw0q3Bb1yV8Ck2\n"
        'data: {"job_id": "' + JOB + '", …}\n\n',
    ),
}
