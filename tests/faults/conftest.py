"""The real stores of ``conformance``, for what may go wrong on each of them."""

from tests.conformance.conftest import SHARED, local_folder, s3_server, shared_address

__all__ = ["SHARED", "local_folder", "s3_server", "shared_address"]
