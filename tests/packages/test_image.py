"""The image: small, without root's rights, healthy, and stopped without a loss.

Takes minutes: it makes a base image, as ``python:3.13-slim`` is not everywhere at hand. Set
``JOBD_IMAGE_BASE`` to the name of one that the docker of this machine has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import requires
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis as redis_py
import yaml

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.support import processes
from tests.support.daemon import wait
from tests.support.ports import free_port

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("JOBD_IMAGE_BASE", "")
MOST_MB = 40
APP = """\
import redis
from jobd import job

@job
def welcome(url):
    redis.Redis.from_url(url).rpush("test:said", open("/proc/1/comm").read().strip())

@job
def stays(url):
    import time
    redis.Redis.from_url(url).rpush("test:said", "it runs")
    time.sleep(600)
"""
HARDENED = [
    *("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--tmpfs=/run/jobd:uid=10001,gid=10001,mode=750", "--tmpfs=/tmp", "--pids-limit=200"),
]


class Docker:
    """A docker daemon of our own, or the one of this machine."""

    def __init__(self, directory: Path) -> None:
        self._environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
        self._daemon: subprocess.Popen[bytes] | None = None
        self._directory = directory
        if not shutil.which("docker"):
            pytest.skip("docker is not installed")
        if not BASE:
            self._start()

    def _start(self) -> None:
        if os.geteuid() or not shutil.which("dockerd") or not shutil.which("debootstrap"):
            pytest.skip("a docker daemon of our own needs root, dockerd and debootstrap")
        self._environment["DOCKER_HOST"] = f"unix://{self._directory}/docker.sock"
        # Processes of its own: those that containers leave to be adopted end with it.
        prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        places = [f"--{name}-root={self._directory}/{name}" for name in ("data", "exec")]
        places.append(f"--pidfile={self._directory}/docker.pid")
        host = f"--host={self._environment['DOCKER_HOST']}"
        with (self._directory / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [*prefix, "dockerd", *places, host, "--bridge=none", "--iptables=false"],
                stdout=log,
                stderr=log,
            )
        processes.worlds.add(self._daemon.pid)
        try:
            wait(self._answers, 60, "docker answers")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert self._daemon is None or self._daemon.poll() is None, (
            self._directory / "log"
        ).read_text()
        return self.run("version", check=False).returncode == 0

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *words], env=self._environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def base(self) -> str:
        """The name of an image with Python."""
        if BASE:
            return BASE
        root = self._directory / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        made = ["debootstrap", "--variant=minbase", packages, "bookworm", str(root)]
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no base image: {done.stdout[-500:]}")
        archive = self._directory / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        self.run("import", str(archive), "base")
        return "base"

    def size(self, image: str) -> int:
        return int(self.run("image", "inspect", "--format={{.Size}}", image).stdout)

    def stop(self) -> None:
        if self._daemon is not None:
            # unshare ignores TERM; with it everything inside is killed, and its mounts are gone.
            self._daemon.kill()
            self._daemon.wait()
            processes.worlds.discard(self._daemon.pid)


def wheels(directory: Path) -> None:
    """Everything that the image installs, for the oldest Python that it may have."""
    wanted = [one.partition(";")[0] for one in requires("pyjobd") or () if _of_image(one)]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(directory)]
    subprocess.run([*download, "setuptools>=64", "async-timeout", *wanted], check=True)


def _of_image(requirement: str) -> bool:
    return "extra ==" not in requirement or 'extra == "web"' in requirement


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    made = Docker(tmp_path_factory.mktemp("docker"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def base(docker: Docker) -> str:
    return docker.base()


@pytest.fixture(scope="module")
def image(docker: Docker, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a small application."""
    clone = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    wheels(clone / "wheels")
    arguments = [f"--build-arg=BASE={base}", "--build-arg=PIP_NO_INDEX=1"]
    docker.run("build", "--network=none", *arguments, "--tag=jobd", str(clone))
    shop = tmp_path_factory.mktemp("shop")
    (shop / "shop.py").write_text(APP)
    (shop / "jobd.toml").write_text('require = ["shop"]\n')
    (shop / "Dockerfile").write_text("FROM jobd\nCOPY . /app\n")
    docker.run("build", "--network=none", "--tag=shop", str(shop))
    return "shop"


class Container:
    """One of *image*, with *options* of docker and *words* as its command."""

    def __init__(
        self, docker: Docker, image: str, url: str, *words: str, options: Sequence[str] = HARDENED
    ) -> None:
        self._docker = docker
        given = [f"--env=JOBD_REDIS={url}", *options]
        quick = ["--health-interval=1s", "--health-start-period=30s"]
        self.id = docker.run("run", "--detach", *quick, *given, image, *words).stdout.strip()

    def send(self, *words: str) -> None:
        """A command of docker about this container."""
        self._docker.run(*words, self.id)

    def exec(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._docker.run("exec", self.id, *words, check=check)

    def state(self) -> dict[str, object]:
        shown = self._docker.run("inspect", "--format={{json .State}}", self.id).stdout
        found: dict[str, object] = json.loads(shown)
        return found

    def health(self) -> str:
        health = self.state()["Health"]
        assert isinstance(health, dict)
        return str(health["Status"])

    def log(self) -> str:
        done = self._docker.run("logs", self.id)
        return done.stdout + done.stderr

    def remove(self) -> None:
        self._docker.run("rm", "--force", self.id)


@pytest.fixture
def container(
    docker: Docker, image: str, server: EmbeddedServer, redis: redis_py.Redis
) -> Iterator[Container]:
    made = Container(docker, image, server.tcp_url)
    try:
        yield made
    finally:
        made.remove()


def test_it_adds_little_to_its_base(docker: Docker, image: str, base: str) -> None:
    added = (docker.size(image) - docker.size(base)) / 1_000_000
    print(f"the image adds {added:.1f} MB to its base")
    assert added < MOST_MB


def test_it_is_healthy_runs_jobs_and_stops(
    container: Container, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    wait(lambda: container.health() == "healthy", 60, f"it is healthy: {container.log()}")
    Client(server.url).push({"class": "shop.welcome", "args": [server.tcp_url]})
    assert redis.blpop("test:said", timeout=30) == (b"test:said", b"jobd master run")
    assert "worker.0" in container.exec("jobctl", "status").stdout
    assert container.exec("id", "-u").stdout == "10001\n"
    # A job that runs goes back to its queue, within what the manifests allow.
    Client(server.url).push({"class": "shop.stays", "args": [server.tcp_url]})
    assert redis.blpop("test:said", timeout=30) == (b"test:said", b"it runs")
    container.send("stop", "--time=40")
    assert container.state()["ExitCode"] == 0, container.log()
    assert redis.llen("queue:default") == 1
    assert "no_pidfile" not in container.log()


def test_it_stays_healthy_without_redis(
    docker: Docker, image: str, tmp_path: Path, redis: redis_py.Redis
) -> None:
    with EmbeddedServer(tcp=True) as own:
        container = Container(docker, image, own.tcp_url)
        try:
            wait(lambda: container.health() == "healthy", 60, f"healthy: {container.log()}")
            own.stop()
            wait(
                lambda: container.exec("jobctl", "status", "--check", check=False).returncode == 8,
                60,
                "an outage is noticed",
            )
            assert container.exec("jobctl", "status").returncode == 0
            assert container.health() == "healthy"
        finally:
            container.remove()


def test_it_starts_again_in_a_volume_of_kubernetes(
    docker: Docker, image: str, server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """Which every user may write to, and which stays when a container is restarted."""
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 0, 10001)
    volume.chmod(0o2777)
    pod = yaml.safe_load((ROOT / "etc/kubernetes/worker.yaml").read_text())["spec"]["template"]
    [worker] = pod["spec"]["containers"]
    shell, *script = worker["command"]
    [pidfile] = [one["value"] for one in worker["env"] if one["name"] == "JOBD_PIDFILE"]
    # The network is that of this machine: so the port of the probes is another one.
    health = f"127.0.0.1:{free_port()}"
    options = [one for one in HARDENED if "/run/jobd" not in one]
    options += [f"--volume={volume}:/run/jobd", f"--entrypoint={shell}"]
    options += [f"--env=JOBD_PIDFILE={pidfile}", f"--env=JOBD_HEALTH={health}"]
    container = Container(docker, image, server.tcp_url, *script, options=options)
    try:
        probe = f"http://{health}{worker['readinessProbe']['httpGet']['path']}"

        def serves() -> bool:
            try:
                with urlopen(probe, timeout=5):
                    return True
            except OSError:  # nothing listens yet, or it is not ready
                return False

        wait(serves, 60, f"it is ready: {container.log()}")
        assert container.exec("cat", "/proc/1/comm").stdout == "jobd master run\n"
        container.send("kill")
        container.send("start")
        wait(serves, 60, f"it is ready again: {container.log()}")
        container.send("stop", "--time=40")
        assert container.state()["ExitCode"] == 0, container.log()
    finally:
        container.remove()


@pytest.mark.parametrize("words", [("web",), ("--version",)])
def test_its_other_commands(docker: Docker, image: str, words: Sequence[str]) -> None:
    if words == ("web",):
        said = docker.run("run", "--rm", *HARDENED, image, "web", "--bind=0.0.0.0", check=False)
        assert said.returncode == 78
        assert "users" in said.stderr
    else:
        assert docker.run("run", "--rm", *HARDENED, image, *words).stdout.startswith("jobd 0.")
