"""Objects told by what they have in common with another."""
