"""The App of ``celeriac demo``: a few tasks of each kind."""

from __future__ import annotations

from celeriac.app import App

app = App("demo")


@app.task(name="demo.factors")
def factors(number: int) -> list[int]:
    """Return the prime factors of ``number``: work for a processor."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


@app.task(name="demo.greet")
async def greet(name: str, seconds: float) -> str:
    """Wait without work, as for a slow service, and return a greeting."""
    await app.clock.sleep(seconds)
    return f"hello {name}"


@app.task(name="demo.divide")
def divide(dividend: int, divisor: int) -> float:
    """Return the quotient; fails for a divisor of zero."""
    return dividend / divisor
