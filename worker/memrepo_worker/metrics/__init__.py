"""What a worker counts, timed and measured, for Prometheus to scrape."""
