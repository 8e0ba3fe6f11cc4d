"""The Dockerfile, read: what can be told of the image without building it.

`make image` builds it, which takes minutes and a builder; docs/kubeflow.md lists what was tested.
"""

import ast
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "kubeflow" / "Dockerfile"
WORDS = {"FROM", "RUN", "COPY", "ENV", "ARG", "LABEL", "USER", "WORKDIR", "CMD"}


@dataclass(frozen=True)
class Step:
    """One instruction; `flags` are its `--name=value`."""

    word: str
    flags: tuple[str, ...]
    text: str


def read(dockerfile: str) -> list[Step]:
    """The instructions, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    steps = []
    for instruction in re.split(r"(?<!\\)\n", "\n".join(lines)):
        if not instruction.strip():
            continue
        word, text = instruction.split(maxsplit=1)
        flags = []
        while found := re.match(r"(--[\w-]+=\S+)\s+(?:\\\n\s*)?", text):
            flags.append(found[1])
            text = text[found.end() :]
        steps.append(Step(word, tuple(flags), text))
    return steps


STEPS = read(DOCKERFILE.read_text())
#: The last stage: what is in the image.
FINAL = STEPS[max(i for i, step in enumerate(STEPS) if step.word == "FROM") :]


def assignments(word: str, steps: list[Step] = FINAL) -> dict[str, str]:
    """What ENV or LABEL set in the last stage."""
    text = " ".join(step.text.replace("\\\n", " ") for step in steps if step.word == word)
    return {name: value.strip('"') for name, value in re.findall(r'([\w.]+)=("[^"]*"|\S+)', text)}


def test_instructions_are_known():
    assert {step.word for step in STEPS} == WORDS


@pytest.mark.parametrize("step", [step for step in STEPS if step.word == "RUN"])
def test_commands_are_shell(step):
    # The builder hands on the lines with their backslashes.
    done = subprocess.run(
        ["sh", "-n"], input=step.text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "set -x" not in step.text  # would print what the secrets hold


def test_both_stages_are_debian_13():
    bases = [step.text for step in STEPS if step.word == "FROM"]
    assert bases == ["${BASE} AS build", "${BASE}"]
    assert next(s.text for s in STEPS if s.word == "ARG") == "BASE=debian:13-slim"


def test_user_is_a_number_and_not_root():
    (user,) = [step.text for step in FINAL if step.word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:\d+", user)  # Kubernetes cannot tell whether a name is root
    assert f"useradd --uid {user.split(':')[0]}" in " ".join(step.text for step in FINAL)


def test_what_is_written_goes_to_tmp():
    variables = assignments("ENV")
    assert variables["HOME"] == variables["TMPDIR"] == "/tmp"
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    # getpass.getuser looks here before it asks for the passwd entry of an unknown UID.
    assert variables["USER"] and variables["LOGNAME"]


def test_labels_say_source_and_version():
    labels = assignments("LABEL")
    prefix = "org.opencontainers.image."
    for name in ("source", "revision", "version"):
        assert labels[prefix + name] == f"${{{name.upper()}}}"
        assert [s for s in FINAL if s.word == "ARG" and s.text.startswith(f"{name.upper()}=")]
    assert labels["ordain.project"] == "${PROJECT}"


def test_nothing_but_the_environment_and_the_project_comes_in():
    copies = [(step.flags, step.text) for step in FINAL if step.word == "COPY"]
    assert copies == [
        (("--from=build",), "/opt/ordain /opt/ordain"),
        ((), "${PROJECT} /project"),
    ]
    installed = re.findall(r"apt-get install.*?\n(.*?)&&", FINAL[1].text, re.DOTALL)
    assert installed[0].replace("\\", "").split() == ["ca-certificates", "libstdc++6", "python3"]


def test_packages_are_held_to_their_hashes():
    installs = [
        command
        for step in STEPS
        if step.word == "RUN"
        for command in re.split(r"&&|;", step.text)
        if re.search(r"\b(pip|uv) .*(install|sync)", command.replace("\\\n", " "))
    ]
    assert len(installs) == 3
    for command in installs:
        # The project itself has no hash; what builds it has.
        assert "--require-hashes" in command or "--require-build-hashes" in command
        assert "http" not in command


def test_secrets_are_mounted_not_passed():
    for step in STEPS:
        if step.word in ("ARG", "ENV"):
            assert not re.search("TOKEN|PASSW|SECRET|INDEX|CRED", step.text)
        if "/run/secrets" in step.text:
            assert step.word == "RUN"
            assert {"--mount=type=secret,id=index", "--mount=type=secret,id=ca"} <= set(step.flags)


def test_context_leaves_out_what_is_private_or_large():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", "**/.venv", "var", "data", "**/*.env", "**/*.pem", "**/*.key"} <= set(lines)
    copied = [s.text.split()[:-1] for s in STEPS if s.word == "COPY" and not s.flags]
    for name in (name for names in copied for name in names if "$" not in name and name != "."):
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] not in lines


def test_target_hands_version_revision_and_project_on(tmp_path):
    said = tmp_path / "said"
    builder = tmp_path / "builder"
    builder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {said}\n')
    builder.chmod(0o755)
    remote = "https://ada:hunter2@git.example.com/ordain.git"
    environment = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.origin.url"}
    command = ["env", *(f"{k}={v}" for k, v in environment.items()), f"GIT_CONFIG_VALUE_0={remote}"]
    command += ["make", "-s", "image", f"BUILDER={builder}", "IMAGE_OPTIONS=--pull"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = said.read_text().splitlines()
    call = next(
        n
        for n in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup"
    )
    version = next(k.value.value for k in call.keywords if k.arg == "version")
    assert words[0] == "build"
    assert words[-1] == "."
    assert f"localhost/ordain:{version}" in words
    assert f"VERSION={version}" in words
    assert "PROJECT=examples/flights" in words
    assert "--pull" in words
    # A label is for everybody to read.
    assert "SOURCE=https://git.example.com/ordain.git" in words
    assert [word for word in words if re.fullmatch(r"REVISION=[0-9a-f]{40}(-dirty)?", word)]


def test_target_wants_a_project():
    command = ["make", "-s", "image", "PROJECT=docs", "BUILDER=true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "docs/pipeline.yaml is not there" in done.stderr


def test_target_wants_a_builder():
    command = ["make", "-s", "image", "BUILDER="]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "docker, podman or buildah is needed" in done.stderr
