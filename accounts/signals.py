"""Signals to higher apps, sent inside the transaction."""

from django.dispatch import Signal

# A guest was merged into an account: each app moves its own rows. Sent with `from_user_id`,
# `into_user_id` and `now`, while both wallets and both users are locked. Raising stops the merge.
users_merged = Signal()

# A user is a person whose earlier accounts were deleted: each app applies what outlives a deletion
# to this user. Sent with `user_id` and `former_user_ids`.
person_returned = Signal()

# An account is deleted: each app deletes its data. Sent with `user_id` and `now`, while the closed
# wallet and the user are locked. Raising stops the deletion.
account_deleted = Signal()
