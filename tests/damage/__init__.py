"""Whatever breaks under a worker, every answer is a healthy worker's, or waited for."""
