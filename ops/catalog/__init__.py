"""Prompt catalogs: CSV and YAML files checked at once and made into one table."""

from ops.catalog.columns import COLUMNS
from ops.catalog.home_folder import catalog_files, open_catalogs
from ops.catalog.pictures import INPUTS, CatalogFiles, CatalogPicture, FolderFiles
from ops.catalog.problems import CatalogError, CatalogProblem
from ops.catalog.reading import CARRY, Catalog, catalog_name, read_catalog, row_request, table_requests
from ops.catalog.registered import RegisteredCatalogs, Registration
from ops.catalog.rows import NO_REVIEW, CatalogSchedule, ReviewPolicy

__all__ = [
    "CARRY",
    "COLUMNS",
    "INPUTS",
    "NO_REVIEW",
    "Catalog",
    "CatalogError",
    "CatalogFiles",
    "CatalogPicture",
    "CatalogProblem",
    "CatalogSchedule",
    "FolderFiles",
    "RegisteredCatalogs",
    "Registration",
    "ReviewPolicy",
    "catalog_files",
    "catalog_name",
    "open_catalogs",
    "read_catalog",
    "row_request",
    "table_requests",
]
