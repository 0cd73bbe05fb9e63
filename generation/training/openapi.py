"""Descriptions of the API calls of trainings: tags, summaries and examples."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from generation.errors import InvalidModel
from generation.models import TrainingKind
from generation.openapi import JOB, PAID_ORDER_REFUSALS, UPLOAD_REFUSALS
from generation.training import api, picture_api
from generation.training.consent_text import TEXT_VERSION
from generation.training.picture_responses import UploadedSetAnswer
from generation.training.responses import (
    CancelledTrainingAnswer,
    OptionsAnswer,
    StartBody,
    StartedAnswer,
    TrainedModelsAnswer,
    TrainingAnswer,
)
from rendio.common.errors import InvalidState, NotFound
from rendio.common.web.openapi import (
    PAGE,
    REPLAYED,
    SUCCESS,
    Done,
    Operation,
    Operations,
    Tag,
    idempotency_key,
)

TRAINED_MODEL = "01a1fc89-91ea-73fa-8415-4b583de90c00"
TRAINING_SET = "01a1fc89-91ea-73fa-8415-4b583de90c01"
TRAINING_IN_PATH = OpenApiParameter("training_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
MODEL_IN_PATH = OpenApiParameter("model_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
TRAIN_OPTIONS = {
    "kinds": [
        {
            "kind": "person",
            "name": "Person",
            "description": "Images of one person.",
            "min_pictures": 10,
            "max_pictures": 40,
            "needs_consent": True,
            "steps": [{"steps": 600, "credits": 30}, {"steps": 1200, "credits": 60}],
        }
    ],
    "consent": {"text_version": TEXT_VERSION, "text": "These images show me, or a person who …"},
}
TRAINED = {
    "model_id": TRAINED_MODEL,
    "training_id": JOB,
    "name": "Ada",
    "kind": "person",
    "steps": 1200,
    "status": "completed",
    "usable": True,
    "trigger_word": "zqamolk",
    "created_at": "2026-11-21T05:17:16Z",
    "completed_at": "2026-11-21T05:28:19Z",
}

OPERATIONS: Operations = {
    picture_api.UploadTrainingPictures: Operation(
        tag=Tag.TRAINING,
        summary="Upload images for a training",
        text="1 to 40 files, each as for `upload-image` and together up to 40 MB: send more in "
        "further calls with the `set_id` of the first. Each image is judged by itself, and an "
        "unusable one does not fail the others. With `kind` the judgement is for that kind of "
        "training: images of a person need one face. A call may be repeated: a file that the set "
        "has already is not stored again. 429 while another such call of the user runs.",
        body={
            "type": "object",
            "properties": {
                "files": {
                    "type": "array",
                    "items": {"type": "string", "format": "binary"},
                    "minItems": 1,
                    "maxItems": 40,
                },
                "set_id": {"type": "string", "format": "uuid"},
                "kind": {"type": "string", "enum": TrainingKind.values},
            },
            "required": ["files"],
        },
        body_type="multipart/form-data",
        response=UploadedSetAnswer,
        response_example={
            "set_id": TRAINING_SET,
            "pictures": [
                {
                    "picture_id": "01a1fc89-91ea-73fa-8415-4b583de90c02",
                    "file_name": "IMG_0001.HEIC",
                    "width": 1536,
                    "height": 2048,
                    "problems": [],
                    "usable": True,
                },
                {
                    "picture_id": None,
                    "file_name": "IMG_0002.HEIC",
                    "width": None,
                    "height": None,
                    "problems": [{"problem": "too_large", "message": "The file is too large."}],
                    "usable": False,
                },
            ],
            "usable": 1,
            "minimum": 10,
            "expires_at": "2026-11-24T05:17:16Z",
        },
        status=201,
        refusals=(*UPLOAD_REFUSALS, NotFound),
    ),
    api.TrainOptions: Operation(
        tag=Tag.TRAINING,
        summary="List what can be trained",
        text="The kinds with their prices, and the text of the consent that a model of a person "
        "needs.",
        response=OptionsAnswer,
        response_example=TRAIN_OPTIONS,
    ),
    api.StartTraining: Operation(
        tag=Tag.TRAINING,
        summary="Start a training",
        text="Charges the credits and enqueues the training in one transaction. Refused before any "
        "charge if the set has too few usable images: `fields` then has the problems of each image "
        "as `pictures.ID`.",
        parameters=(idempotency_key(required=True),),
        body=StartBody,
        request_example={
            "set_id": TRAINING_SET,
            "name": "Ada",
            "kind": "person",
            "steps": 1200,
            "consent": {"accepted": True, "text_version": TEXT_VERSION},
        },
        response=StartedAnswer,
        response_example={
            "status": "pending",
            "model_id": TRAINED_MODEL,
            "settings": {"steps": 1200},
            "training_id": JOB,
            "credits_used": 60,
            "credits_remaining": 40,
            "cancel_fee_after_start": 0,
        },
        headers=REPLAYED,
        refusals=(InvalidModel, NotFound, *PAID_ORDER_REFUSALS),
    ),
    api.GetTraining: Operation(
        tag=Tag.TRAINING,
        summary="Get the status of a training",
        parameters=(TRAINING_IN_PATH,),
        response=TrainingAnswer,
        response_example=TRAINED
        | {
            "progress": 100,
            "eta_seconds": None,
            "credits_used": 60,
            "refunded": False,
            "error": None,
            "poll_after_seconds": 30,
        },
        headers={"Retry-After": "`poll_after_seconds`."},
        refusals=(NotFound,),
    ),
    api.CancelTraining: Operation(
        tag=Tag.TRAINING,
        summary="Cancel a training",
        text="As `cancel-video-job`.",
        parameters=(TRAINING_IN_PATH,),
        response=CancelledTrainingAnswer,
        response_example={"training_id": JOB, "status": "cancelled", "refunded": True},
        refusals=(NotFound, InvalidState),
    ),
    api.TrainedModels: Operation(
        tag=Tag.TRAINING,
        summary="List the user's trained models",
        text="Newest first, with those whose training runs or has failed.",
        parameters=PAGE,
        response=TrainedModelsAnswer,
        response_example={"models": [TRAINED], "next_cursor": None},
    ),
    api.WithdrawTrainingConsent: Operation(
        tag=Tag.TRAINING,
        summary="Withdraw the consent to a model of a person",
        text="Deletes the model as `DELETE train/models/{model_id}` does, and records the "
        "withdrawal. 409 for a model that needed no consent.",
        parameters=(MODEL_IN_PATH,),
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound, InvalidState),
    ),
    api.DeleteTrainedModel: Operation(
        tag=Tag.TRAINING,
        summary="Delete a trained model",
        text="With its weights, the images that it was trained on, and the provider's copy. A "
        "training that runs is cancelled first.",
        parameters=(MODEL_IN_PATH,),
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound,),
    ),
}
