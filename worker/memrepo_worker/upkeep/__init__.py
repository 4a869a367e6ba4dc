"""What keeps a memory quick with age, beside the requests: folding its journal."""
