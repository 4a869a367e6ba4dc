"""Files on the worker's own disk, and what may lie in the place of one."""
