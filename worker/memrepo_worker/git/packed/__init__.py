"""What lies in packs on disk."""
