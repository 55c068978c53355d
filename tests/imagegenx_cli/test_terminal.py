import io

from rich.console import Console
from rich.progress import Progress

from imagegenx_cli.terminal import ProgressBars


def shown(bars):
    return [(task.description.strip(), task.completed, task.total) for task in bars.tasks]


def test_one_bar_per_asset_and_one_for_the_step_of_the_picture_in_work():
    with Progress(console=Console(file=io.StringIO())) as bars:
        progress = ProgressBars(bars)
        assert shown(bars) == [("loading", 0, None)]

        progress.pictures("generated_images", 0, 8)
        progress.step("tee-red", 3, 20)
        assert shown(bars) == [("tee-red", 3, 20), ("generated images", 0, 8)]

        progress.pictures("generated_images", 8, 8)
        progress.pictures("thumbnails", 2, 8)
        assert shown(bars) == [("generated images", 8, 8), ("thumbnails", 2, 8)]


def test_a_run_that_computes_nothing_leaves_no_loading_bar():
    with Progress(console=Console(file=io.StringIO())) as bars:
        progress = ProgressBars(bars)

        progress.pictures("generated_images", 0, 8)
        progress.pictures("generated_images", 8, 8)

        assert shown(bars) == [("generated images", 8, 8)]
