PENDING: str
RECEIVED: str
STARTED: str
SUCCESS: str
FAILURE: str
REVOKED: str
RETRY: str
READY_STATES: frozenset[str]
