"""The staff's second factor, shown after the password.

proofs   what counts: a code of an app on their phone, or a recovery code
pages    where it is asked for and set up, and where recovery codes are made
"""
