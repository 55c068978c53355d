from models.acceleration.building import process_builds
from ops.serving.meters import Meters


def test_a_worker_tells_what_it_is_building():
    meters = Meters("worker-1", "", 8)

    with process_builds().run("TensorRT engine", "exporting", "compiling") as go_on:
        go_on()
        building = meters.state().building

    assert building == ("TensorRT engine: compiling (step 2 of 2), 0 s",)
    assert meters.state().building == ()
