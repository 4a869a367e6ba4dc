"""Spans of OpenTelemetry, where the program has set a tracer provider."""
