"""What Dagster shows of a gallery: where it is, a link to it, what it shows, and its first pictures."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from dagster import MetadataValue

from ops.gallery_page import PublishedGallery
from resources.object_store_resource import ObjectStoreResource


def described(
    published: PublishedGallery, object_store: ObjectStoreResource, page_url: str, *, links_live_s: int
) -> dict[str, Any]:
    """The metadata of the asset `gallery`.

    A page in a local store is given by its path, since browsers open no `file://` links of other pages; elsewhere it is
    a presigned link, and until when it works.

    Args:
        page_url: where the gateway shows the catalog, for as long as there is one.
        links_live_s: life of presigned links.
    """
    link = urlparse(object_store.store.url(published.page))
    metadata: dict[str, Any] = {
        "review": MetadataValue.url(page_url),
        "page": published.page,
        "dagster/uri": object_store.uri(published.page),
        "dagster/partition_row_count": published.rows,
        "pictures": published.pictures,
        "bytes": published.bytes,
        "contact_sheet_file": published.contact_sheet,
        "contact_sheet": MetadataValue.md(published.preview),
    }
    if link.scheme == "file":
        return {"gallery": MetadataValue.path(Path(url2pathname(link.path))), **metadata}
    works_until = MetadataValue.timestamp(time.time() + links_live_s)
    return {"gallery": MetadataValue.url(link.geturl()), "gallery_link_works_until": works_until, **metadata}
