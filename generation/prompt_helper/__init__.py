"""Better prompts on request: a language model at OpenRouter rewrites a user's draft.

Off unless settings.OPENROUTER_MODELS names models. Users pay nothing. A failure is answered as one
and changes nothing.
"""
