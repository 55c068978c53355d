"""Clients of what runs outside this process, and their Dagster resources."""
