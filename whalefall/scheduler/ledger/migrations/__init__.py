"""Alembic's folder: see README.md beside this file."""
