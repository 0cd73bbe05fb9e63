from django.urls import path

from billing import api

urlpatterns = [
    path("get-products", api.GetProducts.as_view()),
    path("update-credits", api.UpdateCredits.as_view()),
    path("subscription/status", api.SubscriptionStatus.as_view()),
]
webhooks = [path("app-store", api.AppStoreNotification.as_view())]
