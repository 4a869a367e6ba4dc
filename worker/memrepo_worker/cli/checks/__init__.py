"""What a worker needs before it can serve: a function each, which says what it found, or what to mend."""
