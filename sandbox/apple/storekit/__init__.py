"""The App Store Server API, its notifications and the signing certificates.

Apple's environments have separate hosts, https://api.storekit.apple.com and
https://api.storekit-sandbox.apple.com. Here they are /apple/storekit and /apple/storekit/sandbox.
"""
