"""OpenAPI descriptions of the JSON calls for staff."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes

from adminops import api
from adminops.serializers import (
    AmountBody,
    NewBalance,
    ToggleModelBody,
    UserActBody,
    UserStatsAnswer,
)
from credits.errors import InsufficientCredits
from generation.errors import InvalidModel
from rendio.common.errors import InvalidState, NotFound
from rendio.common.web.openapi import SUCCESS, Done, Operation, Operations, Tag, query

USER_ID = "3f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11"


CREDITS_ACT = {"user_id": USER_ID, "amount": 5, "reason": "The video came out black"}
USER_ACT = {"user_id": USER_ID, "reason": "Sells its welcome credits"}

WAITS = {
    202: "The amount needs the approval of a second person, and nothing has changed yet. `success` "
    "is false, and `pending_grant_id` is the id of the pending approval in the admin.",
}

OPERATIONS: Operations = {
    api.RefundCredits: Operation(
        tag=Tag.SUPPORT,
        summary="Refund credits",
        body=AmountBody,
        request_example=CREDITS_ACT,
        response=NewBalance,
        response_example={"success": True, "new_balance": 11},
        other_statuses=WAITS,
        refusals=(NotFound, InvalidState),
    ),
    api.AdjustCredits: Operation(
        tag=Tag.SUPPORT,
        summary="Adjust a balance",
        body=AmountBody,
        request_example={**CREDITS_ACT, "amount": -5},
        response=NewBalance,
        response_example={"success": True, "new_balance": 1},
        other_statuses=WAITS,
        refusals=(NotFound, InsufficientCredits, InvalidState),
    ),
    api.ToggleModel: Operation(
        tag=Tag.SUPPORT,
        summary="Put a model on or off sale",
        body=ToggleModelBody,
        request_example={
            "model_id": "00000000-0000-4000-8000-000000000003",
            "is_available": False,
            "reason": "Its results are broken",
        },
        response=Done,
        response_example=SUCCESS,
        refusals=(InvalidModel, InvalidState),
    ),
    api.BanUser: Operation(
        tag=Tag.SUPPORT,
        summary="Ban a user",
        body=UserActBody,
        request_example=USER_ACT,
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound, InvalidState),
    ),
    api.UnbanUser: Operation(
        tag=Tag.SUPPORT,
        summary="Unban a user",
        body=UserActBody,
        request_example=USER_ACT,
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound, InvalidState),
    ),
    api.UserStats: Operation(
        tag=Tag.SUPPORT,
        summary="Get a summary of a customer",
        parameters=(query("user_id", OpenApiTypes.UUID, "The customer.", required=True),),
        response=UserStatsAnswer,
        response_example={
            "user": {
                "id": USER_ID,
                "username": None,
                "email": None,
                "is_guest": True,
                "is_staff": False,
                "tier": "free",
                "language": "en",
                "credits_remaining": 6,
                "credits_total": 10,
                "credits_owed": 0,
                "is_banned": False,
                "banned_at": None,
                "banned_reason": "",
                "closed_at": None,
                "created_at": "2026-11-21T05:17:16Z",
            },
            "stats": {
                "total_jobs": 1,
                "completed_jobs": 1,
                "failed_jobs": 0,
                "success_rate": 1.0,
            },
            "recent_transactions": [],
        },
        refusals=(NotFound,),
    ),
}
