"""Git's own formats, in memory and on disk. Knows nothing of stores."""
