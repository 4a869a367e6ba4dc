"""Histories that began elsewhere: the legacy layout, adoption, import and export."""
