"""Films and pictures that providers made: what they are, whether an iPhone plays them, and what is
done to those that it does not.

Decoders written in C read what strangers sent, so they run in a process of their own that knows no
secret, with bounded time and memory (`process`, and `__main__` on its other side). Nothing here
knows jobs or storage.
"""

# What is left of a picture, in the folder that was given.
IMAGE_NAME = "image.jpg"
