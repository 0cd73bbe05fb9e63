from django.urls import path

from rendio.playground import views

urlpatterns = [
    path("", views.page),
    path("playground/faults", views.set_fault),
    path("playground/purchases", views.buy),
]
