"""What is stored of a task: its record and payloads."""
