from tests.undisturbed import undisturbed

__all__ = ["undisturbed"]
