"""How requests get into their queue and results come back. Private: users meet the clients."""
