"""Reading a journal: what a listing shows of it, its parts, and all of it or what is new."""
