"""The ledger, purchases, subscriptions, refund requests, promotion codes and fraud scores."""
