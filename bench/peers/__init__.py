"""The same loads against the rivals: see bench/peers/README.md."""
