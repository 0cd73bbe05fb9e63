from django.urls import path

from adminops import api

urlpatterns = [
    path("admin-refund-credits", api.RefundCredits.as_view()),
    path("admin-adjust-credits", api.AdjustCredits.as_view()),
    path("admin-toggle-model", api.ToggleModel.as_view()),
    path("admin-ban-user", api.BanUser.as_view()),
    path("admin-unban-user", api.UnbanUser.as_view()),
    path("admin-user-stats", api.UserStats.as_view()),
]
