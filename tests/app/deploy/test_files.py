"""What stands in docs/deploy fits together, and fits the app: no tool that could run it is asked for here."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from app.api.health import health_routes
from app.doors.hosts import Host
from app.runs.metrics import Metrics
from app.settings import REPOSITORY, Settings
from engine.models import CATALOG

DEPLOY = REPOSITORY / "docs" / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KUBERNETES: list[dict[str, Any]] = [
    each
    for file in sorted(DEPLOY.glob("kubernetes*.yaml"))
    for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
PORT = 8501
_TAG = re.compile(r"[\w.-]+(?:/[\w.-]+)*:v?\d+(?:\.\d+)+(?:-[\w.]+)?")
_OURS = "gearbox:"


class _Asked(dict[str, str]):
    """An environment that remembers what was looked for in it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def _pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each object with pods: its name, its own specification and its pods'."""
    for each in KUBERNETES:
        if each["kind"] in ("Deployment", "StatefulSet"):
            yield each["metadata"]["name"], each["spec"], each["spec"]["template"]["spec"]


def _containers() -> Iterator[dict[str, Any]]:
    for _, _, pod in _pods():
        yield from pod.get("initContainers", [])
        yield from pod["containers"]


def _images() -> list[str]:
    composed = [service["image"] for service in SERVICES.values()]
    return [*re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE), *composed, *(c["image"] for c in _containers())]


def _arguments_of_ours() -> list[list[str]]:
    composed = [service["command"] for service in SERVICES.values() if service["image"].startswith(_OURS)]
    return [*composed, *(c["args"] for c in _containers() if c["image"].startswith(_OURS))]


def _healthy_paths() -> set[str]:
    def nobody() -> NoReturn:
        pytest.fail("it was asked for")

    return {route.path for route in health_routes(Path(), nobody, nobody, Metrics(nobody))}


def test_every_image_is_named_with_its_version_and_ours_is_the_same_everywhere() -> None:
    images = _images()
    assert all(_TAG.fullmatch(image) for image in images), images
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert {image for image in images if image.startswith(_OURS)} == {f"{_OURS}{version[1]}"}
    assert len({image for image in images if "postgres" in image}) == 1


def test_the_image_has_the_database_s_own_version_of_pg_dump() -> None:
    """Debian 12's is 15; an older one could not read a newer server."""
    assert re.search(r"^FROM \S*debian:12\.", CONTAINERFILE, re.MULTILINE)
    assert "postgresql-client" in CONTAINERFILE
    assert all(":15." in image for image in _images() if "postgres" in image)


def test_every_variable_is_one_that_gearbox_reads() -> None:
    composed = {name for service in SERVICES.values() for name in service.get("environment", {})}
    pods = {entry["name"] for container in _containers() for entry in container.get("env", [])}
    files = set(re.findall(r"\bGEARBOX_[A-Z_]+", CONTAINERFILE))
    ours = {name for name in composed | pods | files if name.startswith("GEARBOX_")}
    assert {"GEARBOX_DATABASE_URL", "GEARBOX_PASSWORD", "GEARBOX_DATA_DIR"} <= ours
    environment = _Asked()
    Settings.from_env(environment)
    assert ours <= environment.names


def test_what_gearbox_is_told_can_be_read() -> None:
    for container in _containers():
        values = {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
        if container["image"].startswith(_OURS):
            settings = Settings.from_env(values)
            assert settings.database_url.startswith("postgresql+psycopg://") or not values
    composed = SERVICES["gearbox"]["environment"]
    assert Settings.from_env({"GEARBOX_DATABASE_URL": composed["GEARBOX_DATABASE_URL"]})


def test_every_command_is_one_of_gearbox() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    commands = parser.add_subparsers(required=True)
    run, models = commands.add_parser("run"), commands.add_parser("models")
    run.add_argument("--address")
    run.add_argument("--api", action="store_true")
    actions = models.add_subparsers(required=True)
    actions.add_parser("install").add_argument("names", nargs="+", choices=sorted(CATALOG))
    entry = re.search(r"^CMD (\[.*\])$", CONTAINERFILE.partition("ENTRYPOINT")[2], re.MULTILINE)
    assert entry
    for arguments in [*_arguments_of_ours(), yaml.safe_load(entry[1])]:
        parser.parse_args(arguments)


def test_ports_and_probes_lead_to_what_gearbox_answers() -> None:
    assert f"EXPOSE {PORT}" in CONTAINERFILE
    assert SERVICES["gearbox"]["ports"] == [f"127.0.0.1:${{PORT:-{PORT}}}:{PORT}"]
    checked = re.search(r"HEALTHCHECK .*http://127\.0\.0\.1:(\d+)(/\w+)", CONTAINERFILE)
    assert checked
    assert int(checked[1]) == PORT
    paths = _healthy_paths()
    assert checked[2] in paths
    for container in _containers():
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {}).get("httpGet")
            if asked and container["image"].startswith(_OURS):
                assert ports[asked["port"]] == PORT
                assert asked["path"] in paths
                names = [header["value"] for header in asked["httpHeaders"] if header["name"] == "Host"]
                host = Host.parse(names[0])
                assert host is not None
                assert host.is_loopback, "the doors would refuse a pod's address"


def test_services_find_their_pods_and_their_ports() -> None:
    labels = {str(spec["template"]["metadata"]["labels"]): pod for _, spec, pod in _pods()}
    for _, spec, _ in _pods():
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    services = {each["metadata"]["name"]: each["spec"] for each in KUBERNETES if each["kind"] == "Service"}
    for service in services.values():
        pod = labels[str(service["selector"])]
        named = {port["name"] for container in pod["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["ports"]} <= named
    for _, spec, _ in _pods():
        assert spec.get("serviceName") is None or spec["serviceName"] in services


def test_whoever_is_asked_by_name_is_there() -> None:
    services = {each["metadata"]["name"] for each in KUBERNETES if each["kind"] == "Service"}
    for container in _containers():
        for entry in container.get("env", []):
            host = re.search(r"@([\w-]+)/", entry.get("value", ""))
            assert host is None or host[1] in services
    host = re.search(r"@([\w-]+)/", SERVICES["gearbox"]["environment"]["GEARBOX_DATABASE_URL"])
    assert host
    assert host[1] in SERVICES
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_volumes_are_declared_and_the_data_folder_is_one() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"]
    folder = re.search(r"GEARBOX_DATA_DIR=(\S+)", CONTAINERFILE)
    assert folder
    assert f"VOLUME {folder[1]}" in CONTAINERFILE
    assert f"data:{folder[1]}" in SERVICES["gearbox"]["volumes"] == SERVICES["models"]["volumes"]
    for _, spec, pod in _pods():
        claimed = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        known = claimed | {volume["name"] for volume in pod.get("volumes", [])}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= known
            if container["image"].startswith(_OURS):
                assert folder[1] in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_no_secret_stands_in_a_file() -> None:
    secret = re.compile(r"PASSWORD|SECRET|API_KEY|LOGIN")
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not secret.search(name) or str(value).startswith("${")
    for container in _containers():
        for entry in container.get("env", []):
            assert not secret.search(entry["name"]) or "secretKeyRef" in entry["valueFrom"]


def test_what_is_copied_is_there_and_not_left_out() -> None:
    ignored = [
        line
        for line in (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    copied = [
        source for line in re.findall(r"^COPY (.+)$", CONTAINERFILE, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert {"app", "engine", "pages", "requirements.txt", ".streamlit"} <= set(copied)
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        # the last line that speaks of a path counts
        said = [line for line in ignored if fnmatch(source, line.removeprefix("!"))]
        assert said[-1] == f"!{source}", source


def test_pip_is_the_one_of_the_makefile() -> None:
    pinned = re.compile(r"pip==[\d.]+")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert pinned.findall(CONTAINERFILE) == pinned.findall(makefile)
