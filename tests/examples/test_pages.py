"""The programs of README.md and docs/tutorial/first-steps.md do what the page says."""

import re
import shlex
import tomllib
from pathlib import Path

from tests.examples.test_examples import run, worker

from celeriac.cli import exits

ROOT = Path(__file__).parents[2]
COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_STEPS = (ROOT / "docs" / "tutorial" / "first-steps.md").read_text(encoding="utf-8")


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


def test_the_first_steps(tmp_path):
    programs = {text.partition("\n")[0].removeprefix("# "): text for text in blocks(FIRST_STEPS, "python")}
    assert list(programs) == ["tasks.py", "send.py", "retry.py", "later.py", "many.py", "test_tasks.py"]
    for name, text in programs.items():
        program(tmp_path, name, text)
    with worker(tmp_path):
        for name in ("send.py", "retry.py", "later.py", "many.py"):
            assert run(name, cwd=tmp_path) == re.findall(r"# -> (.*)$", programs[name], re.MULTILINE)
    assert run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tasks.py", cwd=tmp_path)[-1].startswith("1 passed")


def test_the_commands_of_the_first_steps(tmp_path):
    program(tmp_path, "tasks.py", blocks(FIRST_STEPS, "python")[0])
    lines = [line for block in blocks(FIRST_STEPS, "bash") for line in block.splitlines()]
    look = [line for line in lines if line.startswith("celeriac ") and " worker " not in line]
    assert len(look) == 5
    with worker(tmp_path):
        for line in look:
            printed = run("-m", *shlex.split(line), cwd=tmp_path)
            assert printed
            if "call" in line:
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
