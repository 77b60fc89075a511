"""For backups: an object store, and servers that try nothing again unless they are told to."""

from tests.s3 import s3_server
from tests.undisturbed import undisturbed

__all__ = ["s3_server", "undisturbed"]
