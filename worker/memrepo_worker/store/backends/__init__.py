"""The stores: a folder, S3, Google Cloud Storage, memory."""
