"""What may not be made: prompts, pictures and results are looked at before they cost or show.

    screening   what is asked of whom, and what no means    ladder      what repetition leads to
    base        the contract of a moderator                 blocklist   words that staff keep
                                                            openai      OpenAI's endpoint

A moderator gets a text or a picture and says what it objects to. Nothing that it was shown is kept.
"""
