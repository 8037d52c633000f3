"""Tasks with types, and an App that takes functions by value: its broker and its keys come from the environment."""

import os
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from celeriac import App

app = App(
    "carrying",
    broker=os.environ["CARRYING_BROKER"],
    accept_content=["json", "msgpack", "cloudpickle"],
    signing_keys=os.environ["CARRYING_KEYS"].split(";"),
)


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Line:
    price: Decimal
    size: Size = Size.SMALL


class Invoice(BaseModel):
    lines: list[Line]
    note: str = ""


@app.task
def bill(lines: list[Line], folder: Path) -> Invoice:
    return Invoice(lines=lines, note=f"{folder.name}: {sum(line.price for line in lines)}")


@app.task(serializer="msgpack", compression="zstd")
def double(invoices: dict[int, Invoice]) -> dict[int, list[Line]]:
    return {number: invoice.lines * 2 for number, invoice in invoices.items()}
