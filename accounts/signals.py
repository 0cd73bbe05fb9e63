"""What accounts tells the apps above it, inside the transaction."""

from django.dispatch import Signal

# A guest has become part of an account: each app moves its own rows. Sent with `from_user_id`,
# `into_user_id` and `now`, while both wallets and both users are locked. Raising stops the merge.
users_merged = Signal()

# A user turned out to be a person whose earlier accounts were deleted: each app lets what outlives
# a deletion count for this user. Sent with `user_id` and `former_user_ids`.
person_returned = Signal()

# A person has left: each app forgets what it knows of them. Sent with `user_id` and `now`, while
# the wallet, closed by now, and the user are locked. Raising stops the deletion.
account_deleted = Signal()
