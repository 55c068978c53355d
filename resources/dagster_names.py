"""What Dagster's assets, partitions, pools, owners and tags are called, for all who speak of them; imports nothing."""

OWNERS = ["team:imagegenx"]

CATALOG_PARTITIONS = "catalogs"
"""The partitions definition of catalogs, and the group of the assets that one goes through."""
MODEL_PARTITIONS = "models"
"""The partitions definition of models."""

CATALOG_FILES = "catalog_files"
ACCEPTED = "accepted"
"""The check of catalog files: whether any of them is refused."""
MODEL_RELEASES = "model_releases"

PROMPT_CATALOG = "prompt_catalog"
GENERATED_IMAGES = "generated_images"
UPSCALED_IMAGES = "upscaled_images"
WATERMARKED_IMAGES = "watermarked_images"
THUMBNAILS = "thumbnails"
GALLERY = "gallery"
IMAGE_SETS = (GENERATED_IMAGES, UPSCALED_IMAGES, WATERMARKED_IMAGES, THUMBNAILS)
STAGES = (PROMPT_CATALOG, *IMAGE_SETS, GALLERY)
"""The assets of a catalog, in the order in which it goes through them."""

PUBLISHED_IMAGES = "published_images"
"""The approved pictures of a catalog, delivered."""
REVIEWED = "reviewed"
"""The check of published images: whether every picture has a verdict."""

ON_DEMAND_IMAGES = "on_demand_images"
STORE_GARBAGE = "store_garbage"
"""The asset that every collection of garbage is recorded under: how much went, by reason."""

QUALITY = "quality"
"""The check of each of a catalog's assets."""

CATALOG_POOL = "catalogs"
"""The concurrency pool of the steps of catalogs; it counts runs."""
SERVING_POOL = "serving"
"""The pool of serving runs; its limit is `serving.gpu_slots`."""
UPKEEP_POOL = "store_upkeep"

PARTITION_NAME_TAG = "dagster/partition"
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RUN_KEY_TAG = "dagster/run_key"
MAX_RETRIES_TAG = "dagster/max_retries"
WILL_RETRY_TAG = "dagster/will_retry"
GRPC_INFO_TAG = ".dagster/grpc_info"
"""On runs that a code server started: which one it was, as JSON."""
RETRY_NUMBER_TAG = "dagster/retry_number"
"""On runs that Dagster itself started again: which try it is."""
PROCESS_TAG = "imagegenx/process"
"""On runs that live in the process of somebody's command: which one it is."""
