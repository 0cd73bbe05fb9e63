"""What accounts tells the apps above it, inside the transaction."""

from django.dispatch import Signal

# A guest has become part of an account: each app moves its own rows. Sent with `from_user_id`,
# `into_user_id` and `now`, while both wallets and both users are locked. Raising stops the merge.
users_merged = Signal()
