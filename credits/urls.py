from django.urls import path

from credits import api

urlpatterns = [
    path("get-user-credits", api.GetCredits.as_view()),
    path("credits/balance", api.GetCredits.as_view()),
    path("get-credit-history", api.GetCreditHistory.as_view()),
    path("redeem-code", api.RedeemCode.as_view()),
]
