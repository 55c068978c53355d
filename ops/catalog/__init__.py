"""Prompt catalogs: CSV and YAML files checked at once and made into one table."""
