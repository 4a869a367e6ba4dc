"""Redis as clients and workers reach it: addresses, connections, and what each of its errors means."""
