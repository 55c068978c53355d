"""Prompt catalogs: CSV and YAML files checked at once and made into one table."""

from ops.catalog.columns import COLUMNS
from ops.catalog.folder import RETIRED, catalog_file, register_catalog, registered_files, retire_catalog
from ops.catalog.pictures import CatalogPicture, picture_file
from ops.catalog.problems import CatalogError, CatalogProblem
from ops.catalog.reading import Catalog, catalog_name, read_catalog, row_request
from ops.catalog.rows import CatalogSchedule

__all__ = [
    "COLUMNS",
    "RETIRED",
    "Catalog",
    "CatalogError",
    "CatalogPicture",
    "CatalogProblem",
    "CatalogSchedule",
    "catalog_file",
    "catalog_name",
    "picture_file",
    "read_catalog",
    "register_catalog",
    "registered_files",
    "retire_catalog",
    "row_request",
]
