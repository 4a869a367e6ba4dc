"""What wraps a store: retrying, metering."""
