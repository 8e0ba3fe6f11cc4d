"""A node's log: everything that is written while it is entered, and nothing else."""

import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ordain.runner.node_log import console_stream, node_log

ROOT = Path(__file__).resolve().parents[3]


def run(tmp_path: Path, body: str) -> subprocess.CompletedProcess:
    """Runs a script whose standard streams are pipes, as a shell's user would have them."""
    head = """
    import ctypes, logging, os, subprocess, sys
    from pathlib import Path
    from ordain.runner.node_log import console_stream, node_log
    log = Path(sys.argv[1])
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "logs" / "Node.log")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


class TestInAProcessOfItsOwn:
    def test_everything_written_inside_is_in_the_file_and_nothing_on_the_console(self, tmp_path):
        done = run(
            tmp_path,
            """
            print("before")
            with node_log(log):
                print("python print")
                print("python error", file=sys.stderr)
                os.write(1, b"descriptor 1\\n")
                os.write(2, b"descriptor 2\\n")
                libc = ctypes.CDLL(None)
                libc.puts(b"c puts")
                libc.fflush(None)
                subprocess.run(["echo", "child"])
                logging.getLogger("tfx").info("logged")
                logging.getLogger("tfx").debug("not that fine")
            print("after")
            print("error after", file=sys.stderr)
            """,
        )
        assert (done.stdout, done.stderr) == ("before\nafter\n", "error after\n")
        text = (tmp_path / "logs" / "Node.log").read_text()
        for line in (
            "python print",
            "python error",
            "descriptor 1",
            "descriptor 2",
            "c puts",
            "child",
        ):
            assert f"{line}\n" in text
        assert " I tfx: logged\n" in text
        assert "not that fine" not in text

    def test_the_console_has_a_stream_of_its_own(self, tmp_path):
        done = run(
            tmp_path,
            """
            console = console_stream()
            with node_log(log):
                print("node")
                console.write("drawn\\n")
            """,
        )
        assert done.stdout == "drawn\n"
        assert (tmp_path / "logs" / "Node.log").read_text() == "node\n"

    def test_a_node_that_raises_gives_the_console_back(self, tmp_path):
        done = run(
            tmp_path,
            """
            try:
                with node_log(log):
                    print("inside")
                    raise ValueError
            except ValueError:
                print("caught")
            """,
        )
        assert done.stdout == "caught\n"
        assert (tmp_path / "logs" / "Node.log").read_text() == "inside\n"

    def test_a_second_launch_appends(self, tmp_path):
        run(tmp_path, "with node_log(log): print('span 1')\nwith node_log(log): print('span 2')\n")
        assert (tmp_path / "logs" / "Node.log").read_text() == "span 1\nspan 2\n"

    def test_a_full_disk_gives_the_console_back(self, tmp_path):
        done = run(
            tmp_path,
            """
            log.parent.mkdir()
            log.symlink_to("/dev/full")
            before = logging.getLogger().handlers[:]
            try:
                with node_log(log):
                    sys.stdout.write("x" * 100)
            except OSError as error:
                print("full:", error.strerror)
            os.write(1, b"written\\n")
            assert logging.getLogger().handlers == before
            """,
        )
        assert done.returncode == 0, done.stderr
        assert "full: No space left on device" in done.stdout
        assert "written" in done.stdout


class TestHere:
    def test_handlers_and_level_are_restored(self, tmp_path):
        root = logging.getLogger()
        before = (list(root.handlers), root.level)
        with pytest.raises(ValueError, match="boom"), node_log(tmp_path / "a.log"):
            assert root.handlers != before[0]
            assert root.level == logging.INFO
            raise ValueError("boom")
        assert (list(root.handlers), root.level) == before

    @pytest.mark.process
    def test_no_descriptor_is_left_open(self, tmp_path):
        def count() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        before = count()
        for number in range(3):
            with node_log(tmp_path / f"{number}.log"):
                pass
        assert count() == before

    def test_text_that_cannot_be_encoded_is_no_error(self, tmp_path, capfd):
        with console_stream() as console:
            console.write("caf\udce9\n")
        with node_log(tmp_path / "a.log"):
            logging.getLogger("x").info("caf\udce9")
            os.write(1, b"\xff\n")
        assert "caf?" in capfd.readouterr().out
        assert b"\xff\n" in (tmp_path / "a.log").read_bytes()
