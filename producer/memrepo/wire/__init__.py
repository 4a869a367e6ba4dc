"""The contract with the worker: operations, requests, records and payloads, as they cross the queue."""
