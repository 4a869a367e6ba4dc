"""What is stored of a task: records, payloads, and what Flower may show."""
