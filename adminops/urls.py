from django.urls import path

from adminops import api
from adminops.auth import otp_views as second_factor

urlpatterns = [
    path("admin-refund-credits", api.RefundCredits.as_view()),
    path("admin-adjust-credits", api.AdjustCredits.as_view()),
    path("admin-toggle-model", api.ToggleModel.as_view()),
    path("admin-ban-user", api.BanUser.as_view()),
    path("admin-unban-user", api.UnbanUser.as_view()),
    path("admin-user-stats", api.UserStats.as_view()),
]

# Under the admin's address, before it.
pages = [
    path("second-factor/", second_factor.page, name="second-factor"),
    path("second-factor/codes/", second_factor.recovery_codes, name="recovery-codes"),
]
