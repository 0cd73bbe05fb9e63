"""The App Store as a server sees it: its API, its notifications and the chain that it signs with.

Apple's two environments have hosts of their own, https://api.storekit.apple.com and
https://api.storekit-sandbox.apple.com; here they are /apple/storekit and /apple/storekit/sandbox.
"""
