"""A self-hosted backend: documents with live queries, security rules, accounts, console, CLI."""

__version__ = "0.1.0"
