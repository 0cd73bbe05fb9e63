"""Sign-in of staff.

login       rate limit and lockout of sign-ins with a password
otp         the second factor: TOTP codes and recovery codes
otp_views   pages for the second factor
roles       the groups and their permissions
api         authentication and permission of the JSON calls
"""
