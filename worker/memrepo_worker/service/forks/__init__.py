"""What forks take from other memories, and how that is made the beginning of one."""
