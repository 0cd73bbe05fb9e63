from django.urls import path

from accounts import api

urlpatterns = [
    path("device-check", api.DeviceCheck.as_view()),
    path("attest-challenge", api.AttestChallenge.as_view()),
    path("attest-device", api.AttestDevice.as_view()),
    path("auth/refresh", api.Refresh.as_view()),
    path("auth/logout", api.Logout.as_view()),
    path("merge-guest-to-user", api.SignInWithApple.as_view()),
    path("sessions", api.GetSessions.as_view()),
    path("revoke-session", api.RevokeSession.as_view()),
    path("devices", api.GetDevices.as_view()),
    path("revoke-device", api.RevokeDevice.as_view()),
    path("register-push-token", api.RegisterPushToken.as_view()),
    path("unregister-push-token", api.UnregisterPushToken.as_view()),
    path("auth/profile", api.GetProfile.as_view()),
    path("get-user-profile", api.GetProfile.as_view()),
    path("update-user-profile", api.UpdateProfile.as_view()),
    path("consents", api.GetConsents.as_view()),
    path("delete-account", api.DeleteAccount.as_view()),
    path("export-user-data", api.ExportUserData.as_view()),
    path("record-consent", api.RecordConsent.as_view()),
]
webhooks = [path("apple-id", api.AppleAccountEvent.as_view())]
