"""Automatic first look: scores of finished pictures, and what follows from them before a person looks."""
