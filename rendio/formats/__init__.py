"""How the admin formats values, by language; FORMAT_MODULE_PATH names this package."""
