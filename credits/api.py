"""The phone's calls about credits."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from credits import queries, services
from rendio.common.api import ApiView, next_cursor, page_limits
from rendio.common.times import iso


class GetCredits(ApiView):
    def get(self, request: Request) -> Response:
        balance = services.balance_of(self.caller.user_id)
        return Response(
            {"credits_remaining": balance.balance, "credits_total": balance.lifetime_total}
        )


class GetCreditHistory(ApiView):
    def get(self, request: Request) -> Response:
        limit, offset, cursor = page_limits(request)
        entries = queries.history(
            user_id=self.caller.user_id, limit=limit + 1, offset=offset, after=cursor
        )
        page = entries[:limit]
        return Response(
            {
                "entries": [
                    {
                        "id": entry.id,
                        "change": entry.change,
                        "kind": entry.kind,
                        "reason": entry.reason,
                        "job_id": entry.job_id,
                        "balance_after": entry.balance_after,
                        "created_at": iso(entry.created_at),
                    }
                    for entry in page
                ],
                "next_cursor": next_cursor(page[-1].id if len(entries) > limit else None),
            }
        )
