"""What only root can set up: small disks, other users. Run by `make test-root`."""
