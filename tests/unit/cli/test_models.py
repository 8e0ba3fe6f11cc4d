"""`ordain models`: what it prints, what it refuses, and how fast it answers."""

import getpass
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ordain.api.models import models as read_models
from ordain.cli.main import main
from ordain.config.loading import load_project
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest, Metric
from ordain.serving.registry.trust import Trust
from ordain.verdict import Outcome, Reason, Verdict

ORDAIN = str(Path(sys.executable).parent / "ordain")


@pytest.fixture
def ordain(monkeypatch, capsys):
    """Runs the command line as its entry point does; returns exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ordain", "models", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def graphs(tmp_path_factory) -> dict[str, Path]:
    """Models as a server takes and refuses them."""
    from tiny_models import save_doubler

    folder = tmp_path_factory.mktemp("graphs")
    return {
        "honest": save_doubler(folder / "1"),
        "hostile": save_doubler(folder / "2", writes="/x"),
    }


@pytest.fixture
def push(make_project, tmp_path, graphs):
    """Publishes a version of the toy project; keyword arguments go into its manifest."""
    project = make_project()

    def run(example=None, trust=None, graph="honest", **facts) -> Path:
        model = tmp_path / "model"
        shutil.copytree(graphs[graph], model, dirs_exist_ok=True)
        if example is not None:
            (model / "assets.extra" / "ordain").mkdir(parents=True, exist_ok=True)
            (model / "assets.extra" / "ordain" / "example.json").write_text(json.dumps(example))
        verdict = Verdict.of("evaluation", [Reason(Outcome.WARNED, "auc.min", "close")])
        about = Manifest(
            "toy",
            0,
            "",
            **{
                "run_id": "20260101-000000-beef",
                "spans": (1, 2),
                "metrics": (Metric("auc", 0.75), Metric("auc", 0.7, "c=a")),
                "verdicts": (verdict,),
                "source_fingerprint": "a" * 64,
                **facts,
            },
        )
        folder = publish(model, project.serving, about, trust)
        record_push(project.serving, int(folder.name), "run r", "auto", trust)
        return folder

    run.project = project
    return run


@pytest.fixture
def folder(push):
    """The project's folder, with three versions published."""
    push(evaluated="e" * 64)
    push(
        spans=(1, 2, 3),
        metrics=(Metric("auc", 0.8), Metric("auc", None, "c=b", undefined="26 rows, no positive")),
        source_fingerprint="b" * 64,
        evaluated="d" * 64,
    )
    push(metrics=(Metric("auc", 0.8), Metric("auc", 0.7, "c=a")), evaluated="e" * 64)
    return push.project.folder


class TestList:
    def test_is_newest_first_with_labels_metrics_and_data(self, ordain, folder):
        code, out, _ = ordain("list", folder)
        assert code == 0
        lines = out.splitlines()
        assert [line.split()[0] for line in lines] == ["3", "2", "1"]
        assert "stable" in lines[0] and "stable" not in lines[1]
        assert "auc 0.8000" in lines[1] and "spans 1, 2, 3" in lines[1]

    def test_json_holds_the_same(self, ordain, folder):
        _, out, _ = ordain("list", folder, "--json")
        document = json.loads(out)
        assert document["pinned"] is False
        newest = document["versions"][0]
        assert (newest["version"], newest["labels"], newest["metrics"]) == (
            3,
            ["stable"],
            {"auc": 0.8},
        )
        found = read_models(load_project(folder))
        assert document["versions"] == json.loads(json.dumps([one.to_dict() for one in found]))

    def test_tells_a_version_without_manifest_and_a_label_without_version(
        self, ordain, folder, push
    ):
        (push.project.serving / "1" / "manifest.json").unlink()
        (push.project.serving / "3").rename(push.project.serving / ".gone")
        _, out, _ = ordain("list", folder)
        assert "has no manifest.json" in out
        assert "version 3 has a label and does not exist" in out

    def test_says_when_there_is_nothing(self, ordain, make_project):
        folder = make_project().folder
        code, out, _ = ordain("list", folder)
        assert (code, out) == (0, f"toy has published nothing yet: ordain run {folder}\n")


class TestShow:
    def test_is_the_stable_version_by_default(self, ordain, folder):
        _, out, _ = ordain("show", folder)
        assert out.startswith("toy, version 3 (stable)\n")
        assert "parent       2" in out and "auc 0.8" in out and "on c=a" in out
        assert "evaluation gate warned, 1 warning(s)" in out
        assert "publish by run r" in out

    def test_an_undefined_metric_is_no_number(self, ordain, folder, push):
        out = ordain("show", folder, 2)[1]
        assert "on c=b       auc undefined (26 rows, no positive)" in out
        push(metrics=(Metric("auc", None, undefined="26 rows, no positive"),))
        assert "auc undefined  spans" in ordain("list", folder)[1].splitlines()[0]

    def test_prints_a_call_with_the_models_own_example(self, ordain, folder, push):
        push(example={"instances": [{"x": 1.5, "c": "it's"}, {"x": 2, "c": "b"}]})
        _, out, _ = ordain("show", folder, 4)
        call = next(line for line in out.splitlines() if line.startswith("  curl"))
        words = subprocess.run(
            ["bash", "-c", call.replace("curl", "printf '%s\\n'", 1)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert json.loads(words[1]) == {"instances": [{"x": 1.5, "c": "it's"}]}
        assert words[2].endswith("/v1/models/toy/versions/4:predict")
        assert "has no example" not in out

    def test_says_when_there_is_no_example(self, ordain, folder):
        _, out, _ = ordain("show", folder, 1)
        assert "the version has no example" in out

    def test_json_is_the_manifest_and_its_labels(self, ordain, folder):
        _, out, _ = ordain("show", folder, 3, "--json")
        raw = json.loads(out)
        assert (raw["version"], raw["labels"], raw["spans"]) == (3, ["stable"], [1, 2])
        assert raw["changes"][0]["action"] == "publish" and raw["call"].startswith("curl ")

    def test_an_unknown_version_is_refused_with_those_there_are(self, ordain, folder):
        code, _, err = ordain("show", folder, 9)
        assert code == 2 and "versions there: 1, 2, 3" in err


class TestDiff:
    def test_tells_data_code_and_metrics(self, ordain, folder):
        _, out, _ = ordain("diff", folder, 1, 2)
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert "data + 3" in lines and "code changed" in lines
        assert "schema unknown in one of them" in lines
        assert "auc on c=a 0.7 -> none" in lines

    def test_values_at_two_thresholds_are_two_metrics(self, ordain, push):
        for threshold, value in ((0.5, 0.75), (0.8, 0.25)):
            metric = Metric("recall", value, threshold=threshold)
            push(metrics=(metric,), evaluated="e" * 64)
        code, out, _ = ordain("diff", push.project.folder, "1", "2")
        assert code == 0
        assert "recall at 0.5" in out and "recall at 0.8" in out
        assert "-0.5" not in out

    def test_a_difference_is_of_the_same_rows(self, ordain, folder):
        for second, values, why in (
            (
                2,
                "auc 0.75 -> 0.8",
                "metrics not comparable: the two were measured on different rows",
            ),
            (3, "auc 0.75 -> 0.8 +0.05", None),
        ):
            out = ordain("diff", folder, 1, second)[1]
            lines = [" ".join(line.split()) for line in out.splitlines()]
            assert values in lines
            assert (why in lines) is (why is not None)

    def test_of_the_same_content_says_so(self, ordain, folder):
        _, out, _ = ordain("diff", folder, 1, 3)
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert "data the same spans" in lines and "code the same" in lines

    def test_json_holds_the_same(self, ordain, folder):
        raw = json.loads(ordain("diff", folder, 1, 2, "--json")[1])
        assert raw["spans_added"] == [3] and raw["is_same_source"] is False
        assert raw["is_same_rows"] is False
        (whole,) = (m for m in raw["metrics"] if m["slice"] == "")
        assert whole["difference"] is None
        raw = json.loads(ordain("diff", folder, 1, 3, "--json")[1])
        (whole,) = (m for m in raw["metrics"] if m["slice"] == "")
        assert (raw["is_same_rows"], whole["difference"]) == (True, pytest.approx(0.05))


class TestVerify:
    def test_every_version_or_one(self, ordain, folder, push):
        assert ordain("verify", folder)[:2] == (0, "1: intact\n2: intact\n3: intact\n")
        path = push.project.serving / "2" / "saved_model.pb"
        path.write_bytes(b"x" * path.stat().st_size)
        code, out, _ = ordain("verify", folder)
        assert code == 5
        assert "2: refused\n  saved_model.pb was changed after" in out
        assert ordain("verify", folder, 3)[0] == 0

    def test_scans_as_a_server_does(self, ordain, folder, push):
        push(graph="hostile")
        code, out, _ = ordain("verify", folder)
        assert code == 5 and "3: intact\n4: refused\n" in out and "WriteFile" in out

    def test_asks_for_the_signatures_when_signing_is_on(self, ordain, folder, push, pair):
        code, out, _ = ordain("verify", folder, 1, *pair.options)
        assert (code, "it is not signed" in out) == (5, True)
        assert "labels: " in out and "is not signed, and signing is on" in out

    def test_damaged_labels_are_told_too(self, ordain, folder, push):
        (push.project.serving / "labels.json").write_text("[" * 200_000)
        code, out, err = ordain("verify", folder)
        assert code == 5 and out.endswith("labels.json is damaged: it is nested too deeply\n")
        for command in ("list", "show", "prune"):
            code, _, err = ordain(command, folder)
            assert code == 5 and "nested too deep" in err, command


@pytest.fixture
def pair(tmp_path):
    """A key pair, and the options that turn signing on with it."""
    subprocess.run(
        f"openssl ecparam -name prime256v1 -genkey -noout | "
        f"openssl pkcs8 -topk8 -nocrypt -out {tmp_path}/private.pem && "
        f"openssl pkey -in {tmp_path}/private.pem -pubout -out {tmp_path}/public.pem",
        shell=True,
        check=True,
    )
    trust = Trust("toy", tmp_path / "public.pem", tmp_path / "private.pem")
    reads = ("--set", f"push.signing.public_key={trust.public_key}")
    both = (*reads, "--set", f"push.signing.private_key={trust.private_key}")
    return SimpleNamespace(trust=trust, options=reads, both=both)


class TestSigned:
    def test_labels_move_where_the_private_key_is(self, ordain, push, pair):
        for _ in range(2):
            push(trust=pair.trust)
        folder = push.project.folder
        code, _, err = ordain("promote", folder, 1, "--why", "x", *pair.options)
        assert code == 2 and "push.signing has no private_key" in err
        code, out, _ = ordain("promote", folder, 1, "--why", "x", *pair.both)
        assert (code, out) == (0, "stable is version 1, was 2\n")
        assert ordain("verify", folder, *pair.options)[:2] == (
            0,
            "1: intact and signed\n2: intact and signed\n",
        )

    def test_labels_from_before_signing_are_replaced_when_that_is_said(self, ordain, push, pair):
        push()
        push(trust=None)
        folder, serving = push.project.folder, push.project.serving
        for number in (1, 2):
            shutil.rmtree(serving / str(number))
        signed = SimpleNamespace(folder=publish_signed(push, pair))
        code, _, err = ordain("promote", folder, signed.folder.name, "--why", "x", *pair.both)
        assert code == 5 and "is not signed, and signing is on" in err and "--replace-labels" in err
        code, out, err = ordain(
            "promote", folder, signed.folder.name, "--why", "x", "--replace-labels", *pair.both
        )
        assert code == 0 and "was unknown: the labels were replaced" in out
        assert "replaced: " in err and "is not signed" in err
        assert (serving / "labels.json.refused").exists()
        assert ordain("list", folder, *pair.options)[0] == 0


def publish_signed(push, pair) -> Path:
    """A signed version in a directory whose labels are not."""
    labels = push.project.serving / "labels.json"
    kept = labels.read_text()
    labels.unlink()
    folder = push(trust=pair.trust)
    labels.write_text(kept)
    return folder


SECRETS = """
metadata: "postgresql://toy:${env:ORDAIN_TEST_NOWHERE}@db:5432/toy"
notify: [{on: [failed], webhook: "${env:ORDAIN_TEST_NOWHERE}"}]
train: {steps: "${env:ORDAIN_TEST_NOWHERE}", parameters: {key: "${env:ORDAIN_TEST_NOWHERE}"}}
gate: {server: {max_p99_ms: "${env:ORDAIN_TEST_NOWHERE}"}}
beam_args: ["--key=${env:ORDAIN_TEST_NOWHERE}"]
"""


@pytest.mark.parametrize(
    "command", [["list"], ["show"], ["diff", "1", "2"], ["verify"], ["prune", "--dry-run"]]
)
def test_no_secret_of_training_is_asked_for(ordain, folder, command, pair):
    path = folder / "pipeline.yaml"
    path.write_text(path.read_text() + SECRETS)
    code, _, err = ordain(command[0], folder, *command[1:])
    assert code == 0, err
    # Neither the private key nor its pass phrase, where versions are only read.
    signing = {"public_key": str(pair.trust.public_key), "password": "${env:ORDAIN_TEST_NOWHERE}"}
    signing["private_key"] = "${env:ORDAIN_TEST_NOWHERE}"
    _, out, err = ordain("verify", folder, "--set", f"push.signing={json.dumps(signing)}")
    assert "it is not signed, and signing is on" in out and "ORDAIN_TEST_NOWHERE" not in out + err


class TestLabels:
    def test_promote_and_rollback_are_recorded_with_who_and_why(self, ordain, folder, push):
        code, out, _ = ordain("rollback", folder, "--why", "complaints")
        assert (code, out.splitlines()[0]) == (0, "stable is version 2, was 3")
        assert "pinned" in out and "pinned by a rollback" in ordain("list", folder)[1]
        code, out, _ = ordain("promote", folder, 1, "--why", "the old one", "--who", "ada")
        assert (code, out) == (0, "stable is version 1, was 2\n")
        changes = read_labels(push.project.serving).changes[-2:]
        assert changes[0].who.startswith(f"{getpass.getuser()}@")
        assert [(c.action, c.why) for c in changes] == [
            ("rollback", "complaints"),
            ("promote", "the old one"),
        ]
        assert changes[1].who == "ada"

    @pytest.mark.parametrize("command", [["rollback"], ["promote", "1"]])
    def test_a_reason_is_required(self, ordain, folder, command):
        name, *version = command
        code, _, err = ordain(name, folder, *version)
        assert code == 2 and "--why" in err
        assert ordain(name, folder, *version, "--why", "  ")[0] == 2

    def test_canary(self, ordain, folder, push):
        code, out, _ = ordain("canary", folder, 2, "--share", "0.1")
        assert (code, out) == (0, "version 2 gets 10% of the requests, version 3 the rest\n")
        assert "canary 10%" in ordain("list", folder)[1]
        assert ordain("canary", folder, "--drop")[:2] == (0, "the canary was removed\n")
        assert read_labels(push.project.serving).canary is None
        for wrong in (["2"], ["--share", "0.1"], ["2", "--drop"], ["3", "--share", "0.1"]):
            assert ordain("canary", folder, *wrong)[0] == 2

    def test_a_version_that_does_not_verify_is_refused(self, ordain, folder, push):
        (push.project.serving / "1" / "saved_model.pb").unlink()
        code, _, err = ordain("promote", folder, 1, "--why", "x")
        assert code == 5 and "version 1 gets no label, a server would refuse it" in err
        assert "saved_model.pb is missing" in err and "ordain models verify PROJECT 1" in err


class TestPrune:
    def test_says_what_goes_and_what_stays(self, ordain, folder, push):
        ordain("promote", folder, 1, "--why", "x")
        push()
        code, out, _ = ordain("prune", folder, "--keep", 1, "--dry-run")
        assert code == 0 and "2 of 4 versions would be removed" in out
        assert len(list(push.project.serving.glob("[0-9]*"))) == 4
        code, out, _ = ordain("prune", folder, "--keep", 1)
        assert "2 of 4 versions removed" in out
        assert {p.name for p in push.project.serving.glob("[0-9]*")} == {"1", "4"}

    def test_keeps_the_pinned_baseline(self, ordain, folder, push):
        push()
        _, out, _ = ordain(
            "prune", folder, "--keep", 1, "--set", "evaluate.baseline=1", "--dry-run"
        )
        assert "kept: evaluate.baseline" in out


def test_an_object_store_has_no_labels(ordain, folder):
    code, _, err = ordain("list", folder, "--set", "push.directory=gs://bucket/models")
    assert code == 2 and "gs://bucket/models/toy" in err


@pytest.mark.parametrize("command", [["list"], ["show"], ["diff", "1", "2"], ["prune"]])
def test_answers_at_once_and_without_tensorflow(folder, command):
    name, *rest = command
    script = (
        "import sys\n"
        "from ordain.cli.main import main\n"
        f"sys.argv = ['ordain', 'models', {name!r}, {str(folder)!r}, *{rest!r}]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'tfx', 'apache_beam', 'model_signing'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # Its own time and not the clock's: other tests may run beside this one.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
