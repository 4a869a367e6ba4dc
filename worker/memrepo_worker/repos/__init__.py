"""Warm repositories: disposable local copies of agents' memories."""
