"""What a store in a folder does with files: names, listings, temporary files, whose they are."""
