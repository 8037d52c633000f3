"""Functions by value: a lambda, a function of this program, workers as a `concurrent.futures.Executor`.

Both ends opt in, and have a key in common: whoever has it can run code on the workers. Run it: python submit.py. It
needs cloudpickle (pip install 'celeriac[cloudpickle]').
"""

import secrets
from concurrent.futures import as_completed

from celeriac import App

# in a program of several processes the keys come from the environment: CELERIAC_SIGNING_KEYS
app = App(broker="memory://", accept_content=["json", "cloudpickle"], signing_keys=[secrets.token_hex(32)])


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


if __name__ == "__main__":
    with app.run_worker(concurrency=2):
        print("one:", app.submit(lambda x: x + 1, 41).get(timeout=10))

        with app.executor() as executor:
            primes = executor.map(is_prime, range(20), chunksize=5)
            print("primes:", *(number for number, prime in enumerate(primes) if prime))

            futures = {executor.submit(pow, 2, power): power for power in range(5)}
            print("powers:", sorted(future.result() for future in as_completed(futures, timeout=10)))

            failing = executor.submit(lambda: 1 / 0)
            print("error:", failing.exception(timeout=10))
