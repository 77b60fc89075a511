"""Moving projects between engines while they are read and written."""
