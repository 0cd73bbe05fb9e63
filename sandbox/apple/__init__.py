"""Apple's services, one module each."""
