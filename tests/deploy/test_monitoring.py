"""Dashboard, scrape configuration and alert rules against the metrics that a gateway really shows."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from configs.settings import Settings
from gateway.health import HealthCheck
from gateway.metrics import GatewayMetrics
from models.gpus import GPULoad
from models.request import GenerationRequest
from resources.open_store import open_store
from resources.queue import NewTask, TaskPicture, TaskResult, WorkerState, new_task_id, open_queue
from tests.support.programs import program

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
METRIC = re.compile(r"\bimagegenx_[a-z_]+")
PICTURE = TaskPicture(
    original_key="a.webp",
    thumb_key="b.webp",
    width_px=64,
    height_px=64,
    format="webp",
    size_bytes=9,
    seed=1,
    recipe="{}",
)
RESULT = TaskResult(pictures=(PICTURE,), seconds={"denoise": 0.5, "encode": 0.1})
FUNCTIONS = {
    "absent",
    "avg",
    "by",
    "delta",
    "histogram_quantile",
    "increase",
    "le",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "sum",
}
FUNCTIONS |= {"time", "up", "vector"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The samples of a gateway that has a task of each kind and a worker: name → label names."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    queue = open_queue(settings)
    metrics = GatewayMetrics(queue, HealthCheck(queue, open_store(settings.store)).now)
    metrics.observe_call("GET", "/health", 200, 0.01)
    metrics.heard(_ended_task(queue, lambda claim: queue.fail(claim, "The GPU ran out of memory.")))
    metrics.heard(_ended_task(queue, lambda claim: queue.succeed(claim, RESULT)))
    load = GPULoad(0, 50.0, 1_000, 2_000)
    state = WorkerState(id="w", started_at_s=time.time(), batch_fill=0.5, gpu_loads=(load,), counters={"generated": 1})
    queue.renew(state, [])
    metrics.start()
    deadline = time.monotonic() + 60
    ended = [f'imagegenx_tasks_total{{status="{status}"}} 1.0'.encode() for status in ("failed", "success")]
    while not all(line in (text := metrics.exposition()) for line in ended):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    metrics.stop()
    queue.close()
    labels = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def _ended_task(queue, end):
    task = NewTask(id=new_task_id(), request=GenerationRequest.model_validate({"text": "a mug", "model_type": "tiny"}))
    queue.submit(task, owner="test")
    (claim,) = queue.claim("w", 1, 5)
    assert end(claim)
    return task.id


def dashboard():
    return json.loads((DEPLOY / "grafana/imagegenx.json").read_text(encoding="utf-8"))


def rules():
    (group,) = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def expressions():
    panels = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in dashboard()["panels"]}
    return panels | {rule["alert"]: [rule["expr"]] for rule in rules()}


@pytest.mark.parametrize("title", expressions())
def test_every_metric_and_label_that_is_asked_for_is_shown_by_the_gateway(shown, title):
    for expression in expressions()[title]:
        named = set(METRIC.findall(expression))
        assert named <= set(shown) or expression.startswith("up{"), expression
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
        labels |= {label.strip() for group in re.findall(r"by \(([^)]+)\)", expression) for label in group.split(",")}
        assert labels <= {"job"}.union(*(shown.get(name, set()) for name in named)), expression


def test_every_metric_of_the_gateway_is_on_the_dashboard(shown):
    ours = {name for name in shown if name.startswith("imagegenx_") and not name.endswith(("_created", "_sum"))}
    asked = {name for title in expressions() for text in expressions()[title] for name in METRIC.findall(text)}
    assert ours - asked == set()


def test_brackets_and_words_of_every_expression_are_promql():
    for texts in expressions().values():
        for text in texts:
            assert text.count("(") == text.count(")"), text
            bare = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]", "", text)
            words = set(re.findall(r"\b[a-z_]+\b(?=\s*\()", bare))
            assert words <= FUNCTIONS | {name for name in words if METRIC.fullmatch(name)}, text


def test_panels_lie_in_the_grid_and_explain_themselves():
    panels = dashboard()["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"], panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_what_to_do():
    for rule in rules():
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["remedy"], rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_prometheus_and_grafana_find_what_compose_gives_them():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))
    ((target,),) = [job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]]
    host, port = target.split(":")
    assert services[host]["environment"]["IMAGEGENX_GATEWAY__METRICS_PORT"] == port
    assert not any(mapping.endswith(f":{port}") for mapping in services[host]["ports"])
    mounted = [mount.split(":")[1] for mount in services["prometheus"]["volumes"]]
    assert all(f"/etc/prometheus/{name}" in mounted for name in (*prometheus["rule_files"], "prometheus.yaml"))
    assert prometheus["scrape_configs"][0]["job_name"] == "imagegenx"
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasource.yaml").read_text(encoding="utf-8"))
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"]} == {source["datasources"][0]["uid"]}
    folder = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards.yaml").read_text(encoding="utf-8"))
    path = folder["providers"][0]["options"]["path"]
    assert any(mount.split(":")[1].startswith(path) for mount in services["grafana"]["volumes"])


SERIES = {
    "failures": {"imagegenx_tasks_total{status='failed'}": "0+3x30"},
    "failures and successes": {
        "imagegenx_tasks_total{status='failed',instance='a'}": "0+1x30",
        "imagegenx_tasks_total{status='success',instance='a'}": "0+9x30",
    },
    "successes": {
        "imagegenx_tasks_total{status='failed'}": "0+1x30",
        "imagegenx_tasks_total{status='success'}": "0+99x30",
    },
    "two gateways of one queue": {
        f"imagegenx_queue_waiting{{instance='{gateway}',lane='{lane}'}}": f"{waiting}x30"
        for gateway in "ab"
        for lane, waiting in (("interactive", 1000), ("bulk", 5000))
    }
    | {"imagegenx_queue_max_waiting": "10000x30"},
    "a queue nearly full": {
        f"imagegenx_queue_waiting{{instance='{gateway}',lane='{lane}'}}": f"{waiting}x30"
        for gateway in "ab"
        for lane, waiting in (("interactive", 1000), ("bulk", 7500))
    }
    | {f"imagegenx_queue_max_waiting{{instance='{gateway}'}}": "10000x30" for gateway in "ab"},
    "a short queue nearly full": {
        "imagegenx_queue_waiting{lane='bulk'}": "90x30",
        "imagegenx_queue_max_waiting": "100x30",
    },
    "refusals over gRPC": {"imagegenx_http_seconds_count{method='gRPC',status='503',route='SubmitTask'}": "0+30x30"},
    "refusals": {
        "imagegenx_http_seconds_count{status='503',route='/api'}": "0+30x30",
        "imagegenx_http_seconds_count{status='200',route='/api'}": "0+3000x30",
    },
    "few calls, half of them refused": {
        "imagegenx_http_seconds_count{status='503',route='/api'}": "0+1x30",
        "imagegenx_http_seconds_count{status='200',route='/api'}": "0+1x30",
    },
    "a probe that says not ready": {"imagegenx_http_seconds_count{status='503',route='/readyz'}": "0+30x30"},
    "a full dead-letter stream": {
        "imagegenx_task_failures_total{cause='worker_lost'}": "0+1x30",
        "imagegenx_queue_dead": "1000x30",
    },
    "claims of dead workers": {
        "imagegenx_queue_waiting{lane='bulk'}": "0x30",
        "imagegenx_queue_abandoned": "4x30",
        "imagegenx_workers": "0x30",
    },
    "no gateway at all": {},
    "a store that takes nothing": {"imagegenx_store_up": "0x30"},
    "a refused catalog": {f"imagegenx_catalogs_refused{{instance='{gateway}'}}": "1x30" for gateway in "ab"},
}
FIRES = {
    "failures": ["TasksFail"],
    "failures and successes": ["TasksFail"],
    "a queue nearly full": ["QueueNearlyFull"],
    "a short queue nearly full": ["QueueNearlyFull"],
    "refusals over gRPC": ["GatewayErrors"],
    "refusals": ["GatewayErrors"],
    "few calls, half of them refused": ["GatewayErrors"],
    "a full dead-letter stream": ["RequestsGivenUp"],
    "claims of dead workers": ["NobodyWorks"],
    "no gateway at all": ["GatewayDown"],
    "a store that takes nothing": ["StoreDown"],
    "a refused catalog": ["CatalogRefused"],
}


@pytest.mark.parametrize("name", SERIES)
def test_these_series_fire_these_alerts_and_no_other(tmp_path, name):
    series = SERIES[name] | ({"up{job='imagegenx'}": "1x30"} if name != "no gateway at all" else {})
    given = [{"series": what, "values": values} for what, values in series.items()]
    found = [
        {
            "expr": f"count(ALERTS{{alertname='{rule['alert']}', alertstate='firing'}}) or vector(0)",
            "eval_time": "25m",
            "exp_samples": [{"labels": "{}", "value": int(rule["alert"] in FIRES.get(name, []))}],
        }
        for rule in rules()
    ]
    case = {"interval": "1m", "input_series": given, "promql_expr_test": found}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"rule_files": [str(DEPLOY / "alerts.yaml")], "tests": [case]}))

    promtool = program("promtool", package="prometheus")
    told = subprocess.run([promtool, "test", "rules", tmp_path / "case.yaml"], capture_output=True, text=True)

    assert told.returncode == 0, told.stdout + told.stderr


def test_no_rule_adds_up_what_every_gateway_tells_of_the_same_queue():
    for title, texts in expressions().items():
        for text in texts:
            for metric in re.findall(r"(?:sum|avg)[^(]*\((?:rate\()?(imagegenx_\w+)", text):
                assert metric.startswith("imagegenx_http_"), f"{title}: {text}"


def test_a_failure_is_counted_from_0_so_that_the_first_one_shows(tmp_path):
    settings = Settings(home=tmp_path)
    queue = open_queue(settings)
    text = GatewayMetrics(queue, HealthCheck(queue, open_store(settings.store)).now).exposition().decode()
    queue.close()

    assert 'imagegenx_tasks_total{status="failed"} 0.0' in text
    assert 'imagegenx_task_failures_total{cause="worker_lost"} 0.0' in text
