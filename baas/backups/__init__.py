"""Backups: every database of a project as of one version, and the bytes of its objects, in a folder
or an object store; written while serving, checked, and read back into new databases."""
