"""An agent's durable history in object storage: numbered entries, each written once."""
