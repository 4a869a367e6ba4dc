"""Three-way merges, in memory: merge bases, trees, contents."""
