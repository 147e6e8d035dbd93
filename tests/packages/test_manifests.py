"""The files for containers and platforms agree with jobd: times, ports, users, commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from jobd.cli.main import jobd
from jobd.keeper.health.scale import Wanted
from jobd.settings import listening
from jobd.settings.daemon import Config
from jobd.settings.dashboard import WebConfig
from jobd.web.serving.server import ENDS_WITHIN

ROOT = Path(__file__).parents[2]
KUBERNETES = sorted((ROOT / "etc/kubernetes").glob("*.yaml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STOPS_WITHIN = Config().timeout + 25
"""Seconds that a daemon needs for its end: docs/deployment.md."""


def resources() -> Iterator[dict[str, Any]]:
    for path in KUBERNETES:
        yield from yaml.safe_load_all(path.read_text())


def of_kubernetes() -> list[dict[str, Any]]:
    """Those that it knows without KEDA."""
    return [one for one in resources() if not one["apiVersion"].startswith("keda.sh/")]


def pods() -> dict[str, dict[str, Any]]:
    """The pods by the name of their only container, with it."""
    found = {}
    for one in resources():
        if one["kind"] == "Deployment":
            pod = one["spec"]["template"]["spec"]
            [container] = pod["containers"]
            found[str(container["name"])] = {**pod, "container": container}
    return found


def worker_script() -> tuple[str, list[str]]:
    """What the worker's shell does before it becomes jobd, and the arguments of jobd."""
    shell, option, script = pods()["worker"]["container"]["command"]
    assert (shell, option) == ("sh", "-ec")
    before, _, command = script.partition("; exec jobd ")
    return before, shlex.split(command)


def period(probe: dict[str, Any]) -> float:
    """Seconds for which it may fail."""
    return float(probe["periodSeconds"] * probe["failureThreshold"])


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_them(version: str) -> None:
    checked = 0
    for one in of_kubernetes():
        kubernetes_validate.validate(one, version, strict=True)
        checked += 1
    assert checked == 4


def test_a_wrong_field_is_refused() -> None:
    [wrong] = [one for one in of_kubernetes() if one["metadata"]["name"] == "shop-dashboard"][:1]
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 40
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_kubernetes_waits_for_the_end() -> None:
    """The time of preStop counts, too."""
    worker, dashboard = pods()["worker"], pods()["dashboard"]
    assert worker["terminationGracePeriodSeconds"] >= STOPS_WITHIN + 5
    assert "lifecycle" not in worker["container"]
    pause = dashboard["container"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert dashboard["terminationGracePeriodSeconds"] >= pause + ENDS_WITHIN + 5


def test_kubernetes_waits_for_the_start() -> None:
    worker = pods()["worker"]["container"]
    assert period(worker["startupProbe"]) >= Config().start_timeout
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for name, path in paths.items():
        assert worker[name]["timeoutSeconds"] >= 5
        assert worker[name]["httpGet"] == {"path": path, "port": "health"}
    [port] = worker["ports"]
    assert port["name"] == "health"
    [told] = [one["value"] for one in worker["env"] if one["name"] == "JOBD_HEALTH"]
    assert listening.read(told).port == port["containerPort"]


def test_their_users_are_those_of_the_image() -> None:
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.M)
    for pod in pods().values():
        assert pod["securityContext"]["runAsUser"] == int(user)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["container"]["securityContext"]["readOnlyRootFilesystem"]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name in ("worker", "dashboard"):
        assert compose[name]["user"] == f"{user}:{user}"
        assert any(f"uid={user}" in one for one in compose[name]["tmpfs"])


def test_the_pidfile_has_a_directory_everywhere() -> None:
    directory = "/run/jobd"
    assert f"install -d -o 10001 -g 10001 -m 0750 {directory}" in DOCKERFILE
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert compose["worker"]["tmpfs"][0].partition(":")[0] == directory
    worker = pods()["worker"]["container"]
    assert directory in [one["mountPath"] for one in worker["volumeMounts"]]
    pidfile = next(one["value"] for one in worker["env"] if one["name"] == "JOBD_PIDFILE")
    assert worker_script()[0] == f"mkdir -p -m 0700 {Path(pidfile).parent}"
    assert Path(pidfile).parent.parent == Path(directory)
    assert "\nRuntimeDirectory=jobd\n" in (ROOT / "systemd/jobd.service").read_text()
    assert f"\nd {directory} 0750 " in (ROOT / "etc/tmpfiles.d/jobd.conf").read_text()


def test_compose_waits_for_the_end() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert float(services["worker"]["stop_grace_period"].removesuffix("s")) >= STOPS_WITHIN + 5
    assert services["dashboard"]["ports"] == [f"127.0.0.1:{WebConfig().port}:{WebConfig().port}"]
    assert services["redis"]["command"][-2:] == ["--maxmemory-policy", "noeviction"]


def commands() -> Iterator[tuple[str, list[str]]]:
    """All commands of jobd in these files, with their arguments."""
    for name, pod in pods().items():
        yield name, pod["container"].get("args") or worker_script()[1]
    for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items():
        if name != "redis":
            yield name, service["command"]
    for line in (ROOT / "etc/Procfile").read_text().splitlines():
        if not line.startswith("#"):
            words = shlex.split(line.partition(": ")[2].replace("${PORT:-7420}", "7420"))
            assert words.pop(0) == "jobd"
            yield line, words


@pytest.mark.parametrize(("where", "words"), list(commands()))
def test_jobd_takes_their_commands(where: str, words: list[str]) -> None:
    name, *arguments = words
    command = jobd.commands[name]
    command.make_context(name, list(arguments), parent=click.Context(jobd, info_name="jobd"))


def test_a_platform_that_kills_after_half_a_minute_is_not_waited_for() -> None:
    """Heroku gives 30 seconds: 4 for jobs and 25 to return them."""
    [line] = re.findall(r"^worker: (.*)$", (ROOT / "etc/Procfile").read_text(), re.M)
    given = jobd.commands["run"].make_context("run", shlex.split(line)[2:])
    assert float(given.params["timeout"]) + 25 < 30


def test_keda_asks_the_health_listener_of_the_worker() -> None:
    text = (ROOT / "etc/kubernetes/keda.yaml").read_text()
    assert text[text.index("apiVersion: keda.sh") :] in (ROOT / "docs/health.md").read_text()
    service, scaled = yaml.safe_load_all(text)
    [worker] = [one for one in resources() if one["metadata"]["name"] == "shop-worker"][-1:]
    assert worker["kind"] == "Deployment"
    assert service["spec"]["selector"] == worker["spec"]["selector"]["matchLabels"]
    [port] = service["spec"]["ports"]
    assert port["targetPort"] in [one["name"] for one in pods()["worker"]["container"]["ports"]]
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert spec["minReplicaCount"] >= 1
    [trigger] = spec["triggers"]
    asked = trigger["metadata"]
    # KEDA asks from another namespace.
    host = f"{service['metadata']['name']}.default.svc"
    assert asked["url"] == f"http://{host}:{port['port']}/scale"
    # So many pods as the value says: an average of 1 for each.
    assert (trigger["metricType"], asked["targetValue"]) == ("AverageValue", "1")
    assert asked["valueLocation"] in {one.name for one in fields(Wanted)}


PROMTOOL = shutil.which("promtool")
SCRAPED = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
{series}
    alert_rule_test:
      - eval_time: 30m
        alertname: {alert}
        exp_alerts: [{{exp_labels: {{job: jobd, queue: mail, severity: page}}}}]
"""


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here")
@pytest.mark.parametrize("alert", ["JobdQueueBurnsFast", "JobdQueueStands"])
def test_an_alert_fires_once_however_many_daemons_are_scraped(alert: str, tmp_path: Path) -> None:
    values = {
        "queue_latency_seconds": "100x60",
        "queue_slo_seconds": "30x60",
        "queue_started_total": "0+100x60",
        "queue_started_late_total": "0+50x60",
    }
    labels = 'job="jobd",queue="mail"'
    series = [
        f"""      - {{series: 'jobd_{name}{{{labels},instance="{one}"}}', values: '{told}'}}"""
        for name, told in values.items()
        for one in ("a", "b")
    ]
    file = tmp_path / "test.yml"
    rules = ROOT / "etc/prometheus/jobd.rules.yml"
    file.write_text(SCRAPED.format(rules=rules, series="\n".join(series), alert=alert))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_add_up_what_each_daemon_tells() -> None:
    """All tell the same: without that, one-to-one matching fails where two are scraped."""
    text = (ROOT / "etc/prometheus/jobd.rules.yml").read_text()
    for rule in yaml.safe_load(text)["groups"][0]["rules"]:
        known = re.findall(r"jobd_\w+", rule["expr"])
        joined = re.findall(r"max by \(job, queue\) \((?:rate\()?(jobd_\w+)", rule["expr"])
        assert known == joined


def test_the_alerts_are_those_of_the_manual_and_of_metrics() -> None:
    text = (ROOT / "etc/prometheus/jobd.rules.yml").read_text()
    rules = text[text.index("groups:") :]
    assert f"```yaml\n{rules}```" in (ROOT / "docs/health.md").read_text()
    assert [rule["alert"] for rule in yaml.safe_load(text)["groups"][0]["rules"]]
    dashboard = (ROOT / "docs/dashboard.md").read_text()
    for name in set(re.findall(r"jobd_\w+", rules)):
        assert f"`{name}`" in dashboard
