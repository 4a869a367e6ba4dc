"""Everything on one machine: broker, worker and Flower as children of one command."""
