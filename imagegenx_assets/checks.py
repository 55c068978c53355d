"""The check of each of a catalog's assets: what it finds, and how serious that is.

| finding | of | looks at | ERROR: the catalog goes no further | WARN |
|---|---|---|---|---|
| rows unique | prompt_catalog | the whole table | an id twice, no row | |
| rows as asked | each image set | every manifest row | rows missing, another size or format | rows that failed |
| files whole | each image set | every file; a sample's content | a file missing, changed, of another recipe | |
| pictures differ | generated, upscaled | every picture's `Look` | half of the catalog blank or equal | fewer of them |
| watermarks shown | watermarked | a sample, beside the unmarked | a mark that cannot be seen | |
| moderated | generated | every manifest row | a picture the moderator has not seen | rejected pictures |
| published | gallery | the gallery's files | one that is missing | |
| fresh | gallery | the page's age | | older than its `freshness_hours` |

A row that failed never blocks: it has no picture, so nothing bad flows on, and its neighbours are whole. Samples are
`checks.sample` of the pictures a run made and a quarter as many of those it kept; see `ops.checks.sample_rows`. What is
found of one catalog stays on its own page: `imagegenx_assets.check_history`.
"""

from dagster import AssetCheckSpec

from resources.dagster_names import (
    GALLERY,
    GENERATED_IMAGES,
    PROMPT_CATALOG,
    QUALITY,
    THUMBNAILS,
    UPSCALED_IMAGES,
    WATERMARKED_IMAGES,
)

_PICTURES = "Every row is here in the size and format asked for, and every file is stored and whole"
_DESCRIPTIONS = {
    PROMPT_CATALOG: "The catalog has rows, and no two with one id.",
    GENERATED_IMAGES: f"{_PICTURES}; pictures are not blank, differ, and the moderator has seen each.",
    UPSCALED_IMAGES: f"{_PICTURES}; pictures are not blank, and differ.",
    WATERMARKED_IMAGES: f"{_PICTURES}; a sample of marked pictures shows the mark.",
    THUMBNAILS: "Every picture has a thumbnail that fits its box and keeps its aspect ratio; every file is whole.",
    GALLERY: "The page and the contact sheet are in the store, and not older than `freshness_hours`.",
}


def quality_spec(asset: str) -> AssetCheckSpec:
    """The check of an asset, evaluated in the asset's own step; its last result is that of the last catalog made."""
    return AssetCheckSpec(QUALITY, asset=asset, description=_DESCRIPTIONS[asset], blocking=True)
