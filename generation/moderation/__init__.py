"""Moderation of prompts, images and results.

    screening   checks of each kind of input     sanctions   sanctions for repeated violations
    base        the contract of a moderator      blocklist   terms that staff maintain
    openai      OpenAI's moderation endpoint

A moderator gets a text or an image and returns a flag. Neither is stored.
"""
