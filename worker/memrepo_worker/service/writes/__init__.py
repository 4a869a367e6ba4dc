"""What each mutating request does to the next entry."""
