"""Apple's services."""
