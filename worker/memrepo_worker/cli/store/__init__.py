"""``memrepo store …``: whole memories in the store.

These speak to the store directly, beside the workers: what they write is an entry like any other.
"""
