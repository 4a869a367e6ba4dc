"""The requests that cross the queue: one model each, which checks shape; ``check`` checks values.

``digest`` covers everything that the caller asked for and no time, so that the same id with another body is
noticed.
"""
