"""Settings of serving runs, which do what the request queue holds."""

from pydantic import Field, model_validator

from foundation.value_object import ValueObject


class ServingSettings(ValueObject):
    """How many serving runs there are, how long they live and how much they claim."""

    gpu_slots: int = Field(default=1, ge=1, le=1024, description="serving runs at once, at most: one for each GPU")
    min_runs: int = Field(default=0, ge=0, le=1024, description="serving runs at least, also with nothing to do")
    drain_s: float = Field(
        default=60, gt=0, description="so many serving runs that the work there is takes so long, GPU seconds of each"
    )
    backlog_per_run: int = Field(
        default=32, ge=1, description="pictures for a serving run, as long as none has told how long one takes"
    )
    idle_exit_s: float = Field(default=300, ge=0, description="a serving run with nothing to do so long ends, s")
    max_lifetime_s: float = Field(default=3600, ge=1, description="a serving run hands over after so long, s")
    handover_s: float = Field(default=30, ge=0, description="what has begun by then may finish for so long, s")
    sensor_wait_s: float = Field(default=19.5, ge=0, le=45, description="the queue sensor waits so long in one tick, s")
    lost_after_s: float = Field(default=60, ge=5, description="a serving run silent for so long is marked failed, s")
    step_timeout_s: float = Field(
        default=1800, ge=1, description="a serving run whose engine is at one step so long ends as failed, s"
    )
    claim_ahead: int = Field(default=8, ge=0, le=1024, description="requests claimed beyond those in the batch")
    finishing_workers: int = Field(
        default=2, ge=1, le=64, description="threads that post-process and store pictures, for each lane"
    )
    outage_patience_s: float = Field(default=120, ge=0, description="a request waits so long for an absent store, s")
    preview_every_s: float = Field(
        default=1.0,
        ge=0,
        description="a picture that somebody watches is shown so often while it is made, s; 0 shows none",
    )
    report_every_s: float = Field(default=30, ge=0.1, description="results are reported to Dagster in groups, s")
    keep_runs_days: int = Field(default=14, ge=1, description="ended Dagster runs are kept so long, days")

    @model_validator(mode="after")
    def _bounds_agree(self) -> "ServingSettings":
        if self.min_runs > self.gpu_slots:
            raise ValueError(f"min_runs {self.min_runs} is above gpu_slots {self.gpu_slots}; raise gpu_slots, too")
        return self
