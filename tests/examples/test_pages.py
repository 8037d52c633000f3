"""The programs of README.md and docs/tutorial/first-steps.md do what the page says."""

import re
import tomllib
from pathlib import Path

from tests.examples.test_examples import run, worker

from celeriac.cli import exits

ROOT = Path(__file__).parents[2]
COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs" / "tutorial" / "first-steps.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def program(folder, name, text):
    (folder / name).write_text(text)
    return name


def test_readme_is_set_up_by_two_lines():
    lines = blocks(README, "bash")[0].splitlines()
    assert len(lines) == 2
    assert all(line.startswith("python3 -m venv .venv && .venv/bin/pip install ") for line in lines)
    assert lines[0].endswith(".venv/bin/celeriac demo")
    assert lines[1].endswith(".venv/bin/pytest")


def test_readmes_seed_program(tmp_path):
    tasks, client, rabbit = blocks(README, "python")
    program(tmp_path, "tasks.py", tasks)
    with worker(tmp_path):
        assert run(program(tmp_path, "client.py", client), cwd=tmp_path) == ["8"]
    # the line for RabbitMQ stands for the same line of the seed program
    (line,) = rabbit.splitlines()
    other = program(tmp_path, "other.py", f"{tasks.replace('app = App()', line)}\nprint(add(4, 4), app.conf.broker)")
    assert run(other, cwd=tmp_path) == ["8 ('amqp://guest:guest@localhost:5672//',)"]


def test_the_quickstarts_programs(tmp_path):
    tasks, *clients, testing = blocks(QUICKSTART, "python")
    program(tmp_path, "tasks.py", tasks)
    with worker(tmp_path, "--queues", "celeriac,reports"):
        printed = [run(program(tmp_path, f"client{n}.py", text), cwd=tmp_path) for n, text in enumerate(clients)]
    assert printed == [["8", "hello world"], ["[1, 2, 3]", "hello coroutine"], ["[2, 4, 6]"]]
    assert run(program(tmp_path, "testing.py", testing), cwd=tmp_path) == ["42"]


def test_the_quickstarts_commands(tmp_path):
    program(tmp_path, "tasks.py", blocks(QUICKSTART, "python")[0])
    look = next(block for block in blocks(QUICKSTART, "bash") if "plugins" in block).splitlines()
    with worker(tmp_path):
        for line in look:
            words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
            assert words[0] == "celeriac"
            printed = run("-m", *words, cwd=tmp_path)
            assert printed
            if "call" in words:
                assert printed[-1] == "SUCCESS: 8"


def test_the_exit_codes_are_the_codes():
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", COMMANDS, re.MULTILINE)
    documented = re.findall(r"^(\d+)  +(\S.*)$", exits.__doc__, re.MULTILINE)
    assert rows == [(code, meaning.replace("``", "`")) for code, meaning in documented]


def test_the_versions_that_readme_names_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"3\.\d+$", line)]
    assert f"Python {named[0]} to {named[-1]} on" in README
    assert project["requires-python"] == f">={named[0]}"
