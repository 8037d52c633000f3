"""Arguments and results as what their annotations say: dataclasses, models, enumerations, moments, paths.

Run it: python typed.py. It needs pydantic for its one model (pip install 'celeriac[pydantic]').
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from pydantic import BaseModel

from celeriac import App

app = App(broker="memory://")


class Currency(Enum):
    EUR = "€"
    USD = "$"


@dataclass
class Line:
    what: str
    price: Decimal


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    currency: Currency = Currency.EUR
    placed: datetime | None = None


class Invoice(BaseModel):
    number: int
    lines: list[Line]
    total: str


@app.task
def bill(order: Order, number: int) -> Invoice:
    total = sum((line.price for line in order.lines), Decimal(0))
    return Invoice(number=number, lines=order.lines, total=f"{total} {order.currency.value}")


@app.task
def by_day(orders: list[Order]) -> dict[str, int]:
    days = [order.placed.date().isoformat() for order in orders if order.placed is not None]
    return {day: days.count(day) for day in days}


if __name__ == "__main__":
    tea = Order(UUID(int=1), [Line("tea", Decimal("3.20")), Line("cake", Decimal("4.10"))])
    coffee = Order(UUID(int=2), [], Currency.USD, datetime(2026, 5, 6, tzinfo=UTC))
    with app.run_worker():
        invoice = bill.delay(tea, 7).get(timeout=10)
        print(type(invoice).__name__, invoice.number, invoice.total)
        print(type(invoice.lines[0]).__name__, invoice.lines[0].price)
        print(by_day.delay([tea, coffee]).get(timeout=10))

        # what does not fit is refused where it is called, and says where it is wrong
        try:
            bill.delay(Order(UUID(int=3), [Line("tea", 3.20)]), 8)  # type: ignore[arg-type]
        except TypeError as error:
            print(error)

        # a sender that does not look, in another language say, is told by the task's result
        wrong = app.send_task(bill.name, [{"id": str(UUID(int=4)), "lines": [{"what": "tea"}]}, 9])
        print(type(wrong.get(timeout=10, propagate=False)).__name__)
