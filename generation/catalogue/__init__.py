"""Models on sale: the cached catalogue, prices, parsed orders, usable routes, availability."""
