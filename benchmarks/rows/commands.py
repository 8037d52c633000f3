"""What everyone waits for: an import, and a command's help."""

from __future__ import annotations

from benchmarks.environments import OURS as CELERIAC
from benchmarks.measures.command import Command
from benchmarks.model import Contender, Row, Target


def _command(name: str, peer: str, *arguments: str) -> Contender:
    return Contender(name=name, peer=peer, system="", broker="none", worker=arguments)


IMPORT, HELP = "from celeriac import App", "celeriac --help"
CELERY_IMPORT, CELERY_HELP = "from celery import Celery", "celery --help"

ROW = Row(
    title="import and help",
    measure=Command(),
    contenders=(
        _command(CELERY_IMPORT, "celery", "-c", CELERY_IMPORT),
        _command(IMPORT, CELERIAC, "-c", IMPORT),
        _command(CELERY_HELP, "celery", "-m", "celery", "--help"),
        _command(HELP, CELERIAC, "-m", "celeriac", "--help"),
        _command("import celery", "celery", "-c", "import celery"),
        _command("import celeriac", CELERIAC, "-c", "import celeriac"),
    ),
    targets=(
        Target(
            ours=IMPORT,
            against=CELERY_IMPORT,
            figure="seconds",
            must=0.3,
            aim=0.2,
            lower=True,
            what="`import celeriac`",
        ),
        Target(
            ours=HELP, against=CELERY_HELP, figure="seconds", must=0.3, aim=0.2, lower=True, what="`celeriac --help`"
        ),
    ),
    shown=("seconds", "above_python"),
    note="`import celery` alone imports next to nothing: each name at its first use. Python itself is in the seconds.",
)
