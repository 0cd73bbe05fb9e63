from django.urls import path

from generation import api
from generation.prompt_helper import api as prompt_helper_api
from generation.training import api as training_api
from generation.training import picture_api
from generation.uploads import api as uploads_api

urlpatterns = [
    path("get-models", api.GetModels.as_view()),
    path("get-themes", api.GetThemes.as_view()),
    path("upload-image", uploads_api.UploadImage.as_view()),
    path("uploads", uploads_api.Uploads.as_view()),
    path("start-direct-upload", uploads_api.StartDirectUpload.as_view()),
    path("finish-direct-upload", uploads_api.FinishDirectUpload.as_view()),
    path("train/upload", picture_api.UploadTrainingPictures.as_view()),
    path("improve-prompt", prompt_helper_api.ImprovePrompt.as_view()),
    path("train/options", training_api.TrainOptions.as_view()),
    path("train/start", training_api.StartTraining.as_view()),
    path("train/models", training_api.TrainedModels.as_view()),
    path("train/models/<str:model_id>", training_api.DeleteTrainedModel.as_view()),
    path(
        "train/models/<str:model_id>/withdraw-consent",
        training_api.WithdrawTrainingConsent.as_view(),
    ),
    path("train/<str:training_id>", training_api.GetTraining.as_view()),
    path("train/<str:training_id>/cancel", training_api.CancelTraining.as_view()),
    path("quote-video", api.QuoteVideo.as_view()),
    path("generate-video", api.GenerateVideo.as_view()),
    path("generate/video", api.GenerateOnlyVideo.as_view()),
    path("generate/image", api.GenerateImage.as_view()),
    path("generate/<str:job_id>", api.GetGeneration.as_view()),
    path("generate/<str:job_id>/cancel", api.CancelGeneration.as_view()),
    path("get-video-status", api.GetVideoStatus.as_view()),
    path("get-jobs", api.GetJobs.as_view()),
    path("get-video-jobs", api.GetVideoJobs.as_view()),
    path("cancel-video-job", api.CancelVideoJob.as_view()),
    path("retry-video-job", api.RetryVideoJob.as_view()),
    path("provenance/<str:job_id>", api.GetProvenance.as_view()),
    path("delete-video-job", api.DeleteVideoJob.as_view()),
]
webhooks = [path("<str:provider>", api.ProviderWebhook.as_view())]
media = [path("<str:token>", api.Media.as_view())]
