"""Finishing: a picture is reviewed, changed as asked, encoded and stored, whoever made it and whoever asked for it."""

from ops.finish.finisher import FinishedPicture, Finisher, PicturePlan, Thumbnail
from ops.finish.jobs import Failure, failed_outcome, finish_job, job_outcome, job_plan

__all__ = [
    "Failure",
    "FinishedPicture",
    "Finisher",
    "PicturePlan",
    "Thumbnail",
    "failed_outcome",
    "finish_job",
    "job_outcome",
    "job_plan",
]
