"""Videos and images from providers: probing, and conversion of videos that iPhones do not play.

C decoders read untrusted files here. They run in a process of their own without secrets, with
limited time and memory (`process` starts it, `__main__` runs in it). Nothing here depends on jobs
or storage.
"""
