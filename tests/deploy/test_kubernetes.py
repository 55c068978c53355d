"""The manifests and values for Kubernetes: by its schemas, and through Dagster's real launcher. No cluster ran."""

import re
import sys
import tomllib
import uuid

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, build_sensor_context
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster_k8s import K8sRunLauncher
from starlette.routing import Match

from configs.settings import PACKAGE_ROOT, Settings, load_settings
from gateway.http_app import build_app
from gateway.main import open_service
from imagegenx_assets.definitions import RESOURCES
from sensors.placement import PlacedRunCoordinator
from sensors.serving_runs import SERVING_JOB
from sensors.starting_runs import starting_runs
from tests.deploy.test_compose import variables
from tests.support.kubernetes_api import KubernetesAPI, check

FOLDER = PACKAGE_ROOT / "deploy/kubernetes"
ASSETS = "__ASSET_JOB"
GPU = "nvidia.com/gpu"


def manifests():
    return list(yaml.safe_load_all((FOLDER / "gateway.yaml").read_text(encoding="utf-8")))


def manifest(kind):
    (found,) = [one for one in manifests() if one["kind"] == kind]
    return found


def values():
    return yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))


def gateway_container():
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("document", manifests(), ids=lambda one: one["kind"])
def test_every_manifest_is_what_kubernetes_takes(document):
    check(document)


def test_a_manifest_with_a_word_that_kubernetes_does_not_know_is_found():
    document = manifest("PodDisruptionBudget")
    document["spec"]["minAvailible"] = document["spec"].pop("minAvailable")
    with pytest.raises(Exception, match="minAvailible"):
        check(document)


def test_every_setting_is_one_and_the_gateway_starts_with_them(monkeypatch, tmp_path):
    given = dict(manifest("ConfigMap")["data"])
    given |= {one["name"]: one["value"] for one in gateway_container()["env"]}
    assert {name for name in given if name.startswith("IMAGEGENX_")} <= variables() | {"IMAGEGENX_SECRETS"}
    assert {"name": "secrets", "mountPath": given["IMAGEGENX_SECRETS"], "readOnly": True} in gateway_container()[
        "volumeMounts"
    ]
    for name in ("IMAGEGENX_STORE__ACCESS_KEY", "IMAGEGENX_STORE__SECRET_KEY"):
        (tmp_path / name).write_text("a secret", encoding="utf-8")
    given["IMAGEGENX_SECRETS"] = str(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.placement.launcher == "kubernetes"
    assert settings.store.kind == "s3"


def test_probes_ask_what_the_gateway_answers(tmp_path):
    routes = build_app(open_service(Settings(home=tmp_path))).routes
    container = gateway_container()
    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for path in asked.values():
        scope = {"type": "http", "method": "GET", "path": path}
        assert any(route.matches(scope)[0] is Match.FULL for route in routes)


def test_one_gateway_stays_while_nodes_are_drained_and_the_service_finds_it():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    budget, service = manifest("PodDisruptionBudget")["spec"], manifest("Service")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert service["selector"].items() <= labels.items()
    assert budget["minAvailable"] < manifest("Deployment")["spec"]["replicas"]
    names = {port["name"] for port in gateway_container()["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= names


def test_no_secret_stands_in_a_file():
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(SECRET_KEY|ACCESS_KEY|__SECRET|PASSWORD|QUEUE__URL)\s*:", text), file.name


def test_the_image_is_of_this_version_everywhere():
    version = tomllib.loads((PACKAGE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    document = values()
    images = [document[part]["image"] for part in ("dagsterWebserver", "dagsterDaemon")]
    images += [one["image"] for one in document["dagster-user-deployments"]["deployments"]]
    assert {image["tag"] for image in images} == {f"{version}-gpu"}
    assert gateway_container()["image"] == f"IMAGE:{version}-gpu"


def instance_config(api: KubernetesAPI) -> dict:
    """What the chart makes of the values: names in the snake_case of dagster.yaml."""
    document = values()
    launcher = document["runLauncher"]["config"]["k8sRunLauncher"]
    coordinator = document["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    config = {
        "service_account_name": document["global"]["serviceAccountName"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": document["global"]["postgresqlSecretName"],
        "dagster_home": document["global"]["dagsterHome"],
        "job_namespace": "pictures",
        "load_incluster_config": False,
        "kubeconfig_file": str(api.kubeconfig),
        "image_pull_policy": launcher["imagePullPolicy"],
        "env_config_maps": [one["name"] for one in launcher["envConfigMaps"]],
        "env_secrets": [one["name"] for one in launcher["envSecrets"]],
        "volumes": launcher["volumes"],
        "volume_mounts": launcher["volumeMounts"],
        "security_context": launcher["securityContext"],
        "fail_pod_on_run_failure": launcher["failPodOnRunFailure"],
        "run_k8s_config": {
            re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name).replace("k8_s", "k8s"): part
            for name, part in launcher["runK8sConfig"].items()
        },
    }
    return {
        "run_coordinator": coordinator,
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config},
        **document["additionalInstanceConfig"],
    }


@pytest.fixture
def cluster(tmp_path):
    with KubernetesAPI(tmp_path).serving() as api:
        yield api


@pytest.fixture
def instance(cluster, tmp_path, monkeypatch, request):
    """Dagster's instance as the chart sets it up; a parameter is more configuration of the launcher."""
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    for name, value in manifest("ConfigMap")["data"].items():
        if "PLACEMENT" in name or "FLEET" in name:
            monkeypatch.setenv(name, value)
    folder = tmp_path / "dagster"
    folder.mkdir()
    config = instance_config(cluster)
    config["run_launcher"]["config"] |= getattr(request, "param", {})
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def launched(instance, cluster, job_name):
    """The Job of a run that was queued and launched as the daemon does it."""
    repository = RepositoryPythonOrigin(
        sys.executable, ModuleCodePointer("imagegenx_assets.definitions", "defs"), container_image="IMAGE:0.1.0-gpu"
    )
    origin = JobPythonOrigin(job_name, repository)
    location = GrpcServerCodeLocationOrigin("imagegenx", port=4000, location_name="imagegenx")
    remote = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job_name)
    run = DagsterRun(job_name, run_id=str(uuid.uuid4()), job_code_origin=origin, remote_job_origin=remote)
    instance.add_run(run)
    instance.submit_run(run.run_id, workspace=None)
    instance.launch_run(run.run_id, workspace=None)
    return run, cluster.jobs[f"dagster-run-{run.run_id}"]


def pod_of(job):
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_the_chart_gets_our_launcher_and_coordinator(instance):
    assert isinstance(instance.run_launcher, K8sRunLauncher)
    assert isinstance(instance.run_coordinator, PlacedRunCoordinator)


def test_a_worker_has_one_gpu_time_to_end_and_memory_to_share(instance, cluster):
    _, job = launched(instance, cluster, SERVING_JOB)
    pod, container = pod_of(job)

    assert container["resources"]["limits"][GPU] == "1"
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"] == str(1 << 35)
    assert container["resources"]["requests"]["cpu"] == "4000m"
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["tolerations"] == [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    (shared,) = [volume for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
    assert {"name": shared["name"], "mountPath": "/dev/shm"} in container["volumeMounts"]


@pytest.mark.parametrize("instance", [{"resources": {"limits": {GPU: "1"}}}], indirect=True)
def test_a_catalogs_run_has_no_gpu_even_where_the_launcher_gives_one_to_all(instance, cluster):
    assert pod_of(launched(instance, cluster, SERVING_JOB)[1])[1]["resources"]["limits"][GPU] == "1"

    pod, container = pod_of(launched(instance, cluster, ASSETS)[1])

    memory = {"memory": str(1 << 31)}
    assert container["resources"] == {"requests": {"cpu": "500m", **memory}, "limits": memory}
    assert "tolerations" not in pod


@pytest.mark.parametrize("job_name", [SERVING_JOB, ASSETS])
def test_every_run_is_confined_and_writes_where_it_may(instance, cluster, job_name):
    _, job = launched(instance, cluster, job_name)
    pod, container = pod_of(job)

    assert container["image"] == "IMAGE:0.1.0-gpu"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"] == {"runAsNonRoot": True, "fsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    assert {"/data", "/tmp", "/opt/dagster/logs", "/run/secrets/imagegenx"} <= {
        mount["mountPath"] for mount in container["volumeMounts"]
    }
    assert {"secretName": "imagegenx-secrets", "defaultMode": 0o440} in [
        volume.get("secret") for volume in pod["volumes"]
    ]
    assert (job["spec"]["backoffLimit"], job["spec"]["ttlSecondsAfterFinished"]) == (0, 3600)
    assert "runAsUser" not in str(job)


def test_our_own_pods_are_confined_in_the_same_way():
    document = values()
    launcher = document["runLauncher"]["config"]["k8sRunLauncher"]
    parts = [
        document["dagsterWebserver"],
        document["dagsterDaemon"],
        *document["dagster-user-deployments"]["deployments"],
    ]
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    assert {str(part["securityContext"]) for part in [*parts, gateway_container(), launcher]} == {
        str(launcher["securityContext"])
    }
    pods = [*[part["podSecurityContext"] for part in parts], pod["securityContext"]]
    assert {str(one) for one in pods} == {str(launcher["runK8sConfig"]["podSpecConfig"]["securityContext"])}


def test_a_cancelled_runs_pod_is_deleted(instance, cluster):
    run, _ = launched(instance, cluster, SERVING_JOB)
    assert instance.run_launcher.terminate(run.run_id)
    assert (cluster.jobs, cluster.pods) == ({}, set())


def test_a_pod_that_ends_before_its_run_begins_fails_it_long_before_the_timeout(instance, cluster):
    lost, _ = launched(instance, cluster, SERVING_JOB)
    waiting, _ = launched(instance, cluster, SERVING_JOB)
    cluster.status[f"dagster-run-{lost.run_id}"] = {"failed": 1}

    context = build_sensor_context(instance=instance, resources={"settings": RESOURCES["settings"]})
    said = starting_runs(context).skip_message

    assert instance.get_run_by_id(lost.run_id).status is DagsterRunStatus.FAILURE
    assert f"run {lost.run_id} ended before it began" in said
    assert f"run {waiting.run_id} is running, and has not begun" in said
