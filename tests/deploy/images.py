"""Both images, built from the Dockerfiles and run as in production: without root and capabilities, in a read-only file system.

`make deploy-check` runs this file. There is no container engine in it: buildah builds with `--isolation chroot`, on base images made of
Debian's packages, and a program runs in a mount namespace with the user, environment and command of its image.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.contestants import memory
from bench.database import server as postgresql
from taskapi.config.settings import VERSION
from tests.conftest import SECRET, token
from tests.deploy.files import ROOT, create_roles, env_file
from tests.ports import reserved_port
from tests.waiting import until

PYTHON, NODE = "taskapi-check-python", "taskapi-check-node"
USER = "10001:10001"

# Each layer as a folder: works without the overlay file system and FUSE.
os.environ.setdefault("STORAGE_DRIVER", "vfs")


def run(*command: str, **options: Any) -> str:
    """Run a program; return its output, or fail with it."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout.strip()


@dataclass(frozen=True)
class Image:
    """A built image: its file system and its configuration."""

    root: Path
    config: Mapping[str, Any]

    def start(self, command: Sequence[str], settings: Mapping[str, str], output: Path | int) -> subprocess.Popen[str]:
        """Run a command as a container does, with the image's user and environment, the host's network and `/dev`."""
        environment = dict(variable.split("=", 1) for variable in self.config["Env"]) | dict(settings)
        script = textwrap.dedent(
            """
            set -eu
            root=$1; folder=$2; user=$3; shift 3
            mount --bind "$root" "$root"
            mount -o remount,bind,ro "$root"
            mount -t proc proc "$root/proc"
            mount --rbind /dev "$root/dev"
            mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
            cd "$root"
            exec chroot "$root" setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --no-new-privs \
                --bounding-set=-all --inh-caps=-all -- env -i --chdir="$folder" "$@"
            """
        )
        arguments = [str(self.root), self.config["WorkingDir"], self.config["User"]]
        variables = [f"{name}={value}" for name, value in environment.items()]
        with output.open("ab") if isinstance(output, Path) else tempfile.TemporaryFile() as sink:
            return subprocess.Popen(
                [
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    script,
                    "sh",
                    *arguments,
                    *variables,
                    *command,
                ],
                stdout=sink if isinstance(output, Path) else output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def call(self, *command: str, **settings: str) -> tuple[int, str]:
        """Run a command until it ends; return its exit status and its output."""
        process = self.start(command, settings, subprocess.PIPE)
        output, _ = process.communicate()
        return process.returncode, output

    @contextmanager
    def running(self, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """Run the image's command; SIGTERM must end it by itself (status 0, or 143 of Next.js)."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            process = self.start(self.config["Cmd"], settings, log)
            try:
                until(lambda: self.healthy(settings["PORT"]) or ended(process, log), otherwise="the image is unhealthy")
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                status = process.wait(60)
        assert status in (0, 128 + signal.SIGTERM)

    def healthy(self, port: str) -> bool:
        """Run the command of HEALTHCHECK."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.call(*command, PORT=port)[0] == 0

    def size(self) -> int:
        """Return the size of the file system in MB."""
        return int(run("du", "--summarize", "--apparent-size", "--block-size=MB", str(self.root)).split("MB")[0])


def ended(process: subprocess.Popen[str], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return False


@pytest.fixture(scope="session")
def base_images() -> None:
    missing = [program for program in ("buildah", "debootstrap") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"the images were not built: needs root and {' and '.join(missing) or 'more rights'}")
    run(str(ROOT / "deploy/base-images.sh"), PYTHON, NODE)


@contextmanager
def built(name: str, context: Path, base: str) -> Iterator[Image]:
    """Build the image of a Dockerfile, and mount it."""
    certificates = "/etc/ssl/certs"
    run(
        *("buildah", "bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--no-cache"),
        *("--volume", f"{certificates}:{certificates}:ro", "--build-arg", base),
        *("--build-arg", f"VERSION={VERSION}", "--build-arg", "REVISION=test", "--tag", name, str(context)),
    )
    config = json.loads(run("buildah", "inspect", "--type", "image", name))["Docker"]["config"]
    container = run("buildah", "from", "--pull-never", name)
    try:
        yield Image(Path(run("buildah", "mount", container)), config)
    finally:
        run("buildah", "rm", container)
        run("buildah", "rmi", name)


@pytest.fixture(scope="session")
def api(base_images: None) -> Iterator[Image]:
    with built("taskapi-check", ROOT, f"PYTHON_IMAGE={PYTHON}") as image:
        yield image


@pytest.fixture(scope="session")
def frontend(base_images: None) -> Iterator[Image]:
    with built("taskapi-check-frontend", ROOT / "frontend", f"NODE_IMAGE={NODE}") as image:
        yield image


@pytest.fixture(scope="session")
def settings(secrets_folder: Path) -> Iterator[dict[str, dict[str, str]]]:
    """The generated settings of each program, with the address of a PostgreSQL server that has the roles."""
    with postgresql() as superuser:
        create_roles(superuser, env_file(secrets_folder / "postgresql.env"))
        address = superuser.rpartition("@")[2].partition("/")[0]
        files = {name: env_file(secrets_folder / f"{name}.env") for name in ("api", "migrate", "frontend")}
        yield {
            file: {
                name: value.replace("@postgresql/", f"@{address}/")
                for name, value in values.items()
                if name != "REDIS_URL"
            }
            for file, values in files.items()
        }


@pytest.fixture(scope="session")
def migrated(api: Image, settings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Migrate with the image of the API."""
    status, output = api.call("flask", "db", "upgrade", BETTER_AUTH_SECRET=SECRET, **settings["migrate"])
    assert status == 0, output
    return settings


@pytest.fixture(params=["api", "frontend"])
def image(request: pytest.FixtureRequest) -> Image:
    return request.getfixturevalue(request.param)


def test_an_image_has_the_version_and_runs_without_root(image: Image, record_property: Any) -> None:
    assert image.config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert image.config["User"] == USER
    assert image.call("id", "-u") == (0, "10001\n")
    print(f"{image.config['Labels']['org.opencontainers.image.title']}: {image.size()} MB with its base")


def test_an_image_has_no_compiler_and_no_package_manager_of_its_own(image: Image) -> None:
    found = [name for name in ("cc", "gcc", "make", "git", "curl", "pip") if image.call("which", name)[0] == 0]
    assert found == []


def test_an_image_cannot_change_itself_even_in_a_writable_file_system(image: Image) -> None:
    writable = image.call("find", "/srv", "/opt/venv", "-writable", "!", "-type", "l")
    assert [line for line in writable[1].splitlines() if "No such file" not in line] == []
    status, output = image.call("touch", "/srv/file")
    assert (status, "Read-only file system" in output) == (1, True)


def test_the_api_starts_and_creates_tasks_like_in_production(api: Image, migrated: dict[str, dict[str, str]]) -> None:
    with reserved_port() as port:
        settings = {"PORT": str(port), "BETTER_AUTH_SECRET": SECRET, **migrated["api"]}
        assert not api.healthy(str(port))
        with api.running(**settings) as process:
            assert set(users(process.pid)) == {10001}
            task = curl("-X", "POST", "-H", "Content-Type: application/json", "-d", '{"title": "Buy milk"}', port=port)
            assert (task["title"], task["user_id"]) == ("Buy milk", "alice")
            assert [each["title"] for each in curl(port=port)] == ["Buy milk"]
            assert curl(path="/readyz", port=port) == {"status": "ok"}


def test_the_purge_runs_in_the_image(api: Image, migrated: dict[str, dict[str, str]]) -> None:
    status, output = api.call("flask", "purge", BETTER_AUTH_SECRET=SECRET, **migrated["api"])
    assert (status, "0 tasks emptied" in output) == (0, True), output


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "no key source"), ({"BETTER_AUTH_SECRET": SECRET}, "set DATABASE_URL")],
    ids=["no key source", "no database"],
)
def test_a_missing_setting_is_one_message_and_not_a_traceback(
    api: Image, settings: dict[str, str], message: str
) -> None:
    status, output = api.call(*api.config["Cmd"], **settings)
    assert (status, message in output, "Traceback" in output) == (1, True, False), output


def test_a_user_signs_up_at_the_frontend_and_creates_a_task_at_the_api(
    api: Image, frontend: Image, migrated: dict[str, dict[str, str]]
) -> None:
    """Key pair mode: the API reads the key set of the frontend."""
    with reserved_port() as port, reserved_port() as api_port:
        url = f"http://127.0.0.1:{port}"
        issued = {"JWT_ISSUER": url, "JWT_AUDIENCE": url, "JWT_MAX_LIFETIME": "15m", "BETTER_AUTH_URL": url}
        own = {
            "BETTER_AUTH_URL": url,
            "API_URL": f"http://127.0.0.1:{api_port}",
            "TOKEN_MODE": "key-pair",
            "PORT": str(port),
        }
        with (
            frontend.running(**migrated["frontend"], **own) as process,
            api.running(**migrated["api"], **issued, PORT=str(api_port)),
        ):
            assert set(users(process.pid)) == {10001}
            account = sign_up(port, url)
            own_tasks = {"port": api_port, "user": account.user, "jwt": account.token}
            task = curl("-d", '{"title": "Buy milk"}', "-H", "Content-Type: application/json", **own_tasks)
            assert task["user_id"] == account.user
            assert fetch(port, "GET", "/sign-in")[0] == 200
            print(f"frontend: {memory(process.pid)[1]:.0f} MiB resident after a sign-up")
            assert fetch(port, "POST", "/api/auth/sign-out", {}, origin=url, cookie=account.cookie)[0] == 200
            until(lambda: refused(**own_tasks), otherwise="the token of the ended session is accepted")


def users(pid: int) -> list[int]:
    """Return the effective user of a process and of its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = [int(line.split()[2]) for line in status.splitlines() if line.startswith("Uid:")]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return found + [user for child in children for user in users(int(child))]


def curl(*options: str, port: int, path: str = "", user: str = "alice", jwt: str = "") -> Any:
    """Request the user's tasks, or another path, with curl; return the JSON of the response, of whatever status."""
    target = f"http://127.0.0.1:{port}" + (path or f"/api/{user}/tasks")
    return json.loads(run("curl", "--silent", "-H", f"Authorization: Bearer {jwt or token(user)}", *options, target))


def refused(**own_tasks: Any) -> bool:
    """Return whether a list of the user's tasks is 401."""
    response = curl(**own_tasks)
    return isinstance(response, dict) and response["status"] == 401


def fetch(port: int, method: str, path: str, body: Any = None, *, origin: str = "", cookie: str = "") -> Any:
    headers = {"Content-Type": "application/json", "Origin": origin, "Cookie": cookie}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get_all("Set-Cookie") or []


@dataclass(frozen=True)
class Account:
    """A signed-in user: the id, a token, and the cookie of the session."""

    user: str
    token: str
    cookie: str


def sign_up(port: int, url: str) -> Account:
    account = {"email": "alice@example.com", "password": "a long password", "name": "Alice"}
    status, body, cookies = fetch(port, "POST", "/api/auth/sign-up/email", account, origin=url)
    assert status == 200, body
    cookie = "; ".join(each.partition(";")[0] for each in cookies)
    status, content, _ = fetch(port, "GET", "/api/auth/token", origin=url, cookie=cookie)
    assert status == 200, content
    return Account(json.loads(body)["user"]["id"], json.loads(content)["token"], cookie)
