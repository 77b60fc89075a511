"""A self-hosted backend: documents with live queries, security rules, accounts, a console, a CLI."""

__version__ = "0.1.0"
