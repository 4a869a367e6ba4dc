"""What an operator asks of a store: which memories there are, how large they are, and whether they are whole."""
