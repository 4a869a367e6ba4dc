"""Private: requests that the broker lost, looked for and sent again."""
