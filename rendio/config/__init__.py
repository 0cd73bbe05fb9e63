"""Environment variables, read strictly: rendio/settings.py calls the readers of `environment`."""
