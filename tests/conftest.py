"""Fixtures for tests of more than one folder."""

pytest_plugins = ["figures", "postgres.fixtures"]
