"""API views of trainings and trained models."""

from __future__ import annotations

from django.utils import translation
from rest_framework.request import Request

from credits.idempotency import IdempotentRequest, StoredResponse
from generation import services as job_services
from generation.api import PaidCall
from generation.catalogue import cache
from generation.models import TrainedModel
from generation.training import services
from generation.training.responses import (
    StartBody,
    cancelled_answer,
    options_answer,
    trained_model_answer,
    training_answer,
    training_order,
)
from rendio.common import clock
from rendio.common.errors import NotFound
from rendio.common.web.api import ApiView, next_cursor, page_limits, parse_uuid
from rendio.common.web.responses import ApiResponse


class TrainOptions(ApiView):
    """What can be trained, and the prices."""

    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(options_answer(cache.current()))


class StartTraining(PaidCall):
    operation = "train-start"

    def execute(self, attempt: IdempotentRequest) -> StoredResponse:
        body = self.parse_body(StartBody)
        asked = training_order(body, language=translation.get_language() or "en")
        return services.start(attempt=attempt, asked=asked, now=clock.now())


class GetTraining(ApiView):
    def get(self, request: Request, training_id: str) -> ApiResponse:
        own = TrainedModel.objects.owned_by(self.caller.user_id).select_related("job")
        trained = own.filter(job_id=parse_uuid(training_id, "training_id")).first()
        if trained is None:
            raise NotFound
        body = training_answer(trained, now=clock.now())
        return ApiResponse(body, headers={"Retry-After": str(body["poll_after_seconds"])})


class CancelTraining(ApiView):
    def post(self, request: Request, training_id: str) -> ApiResponse:
        job = job_services.cancel_job(
            user_id=self.caller.user_id,
            job_id=parse_uuid(training_id, "training_id"),
            now=clock.now(),
            is_training=True,
        )
        return ApiResponse(cancelled_answer(job))


class TrainedModels(ApiView):
    """The user's trained models, newest first, those in training included."""

    def get(self, request: Request) -> ApiResponse:
        limit, offset, cursor = page_limits(request)
        own = TrainedModel.objects.owned_by(self.caller.user_id).select_related("job")
        if cursor:
            own = own.filter(id__lt=cursor)
        models = list(own.order_by("-id")[offset : offset + limit + 1])
        page = models[:limit]
        return ApiResponse(
            {
                "models": [trained_model_answer(trained) for trained in page],
                "next_cursor": next_cursor(page[-1].id if len(models) > limit else None),
            }
        )


class WithdrawTrainingConsent(ApiView):
    def post(self, request: Request, model_id: str) -> ApiResponse:
        services.withdraw_consent(
            user_id=self.caller.user_id,
            model_id=parse_uuid(model_id, "model_id"),
            now=clock.now(),
        )
        return ApiResponse({"success": True})


class DeleteTrainedModel(ApiView):
    http_method_names = ("delete",)

    def delete(self, request: Request, model_id: str) -> ApiResponse:
        services.delete_model(
            user_id=self.caller.user_id,
            model_id=parse_uuid(model_id, "model_id"),
            now=clock.now(),
        )
        return ApiResponse({"success": True})
