"""A limited storm over the whole system: kills and outages must cost no customer anything."""
