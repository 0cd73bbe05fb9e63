"""The calls that answer with events."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.languages import changed
from rendio.common import clock
from rendio.common.errors import NotFound
from rendio.common.web import language
from rendio.common.web.api import ApiView, parse_uuid
from rendio.events.reading import Topic
from rendio.events.responses import EventsResponse, Opening, open_events


class _EventsView(ApiView):
    def open(self, topic: Topic) -> Opening:
        caller, began_at = self.caller, clock.now().timestamp()
        user_id, began = caller.user_id, caller.language

        def profiles_language() -> str:
            return changed.current(user_id, token_language=began, issued_at=began_at)

        return open_events(
            topic,
            session_id=caller.session_id,
            language_now=language.make_chooser(self.request._request, profiles_language),
            last_event_id=self.request.headers.get("Last-Event-ID", ""),
        )


class Events(_EventsView):
    """All that is the caller's: the balance, and the jobs of the last day."""

    def get(self, request: Request) -> HttpResponse:
        return EventsResponse(self.open(Topic(self.caller.user_id)))


class VideoJobEvents(_EventsView):
    """One of the caller's jobs."""

    def get(self, request: Request, job_id: str) -> HttpResponse:
        opening = self.open(Topic(self.caller.user_id, parse_uuid(job_id, "job_id")))
        if not opening.items:
            raise NotFound
        answer = EventsResponse(opening)
        if opening.has_ended and not answer.has_news:
            # Nothing will come any more: an EventSource does not come back after a 204.
            return HttpResponse(status=204)
        return answer
