"""The demo project: the cities of GeoNames, imported through the SDK under deployed rules."""
