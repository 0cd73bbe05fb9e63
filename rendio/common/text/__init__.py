"""Texts as readers see them.

collation      sort keys in the order that readers expect
visible_text   whether a text has visible characters
"""
