"""Celery: starts a worker with two processes and checks 1,000 results. Usage: client.py URL PREFIX"""

import datetime
import os
import signal
import subprocess
import sys
import traceback

URL, PREFIX = sys.argv[1:3]
os.environ["BROKER_URL"] = URL
os.environ["QUEUE"] = PREFIX + ".celery"

from celery import chain, group  # noqa: E402
from tasks import add, app, echo, fails, flaky  # noqa: E402

WAIT = 60  # seconds until a result counts as lost


def expect(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def plain():
    results = [add.delay(i, i) for i in range(700)]
    expect([r.get(timeout=WAIT) for r in results], [2 * i for i in range(700)], "sums")


def retries():
    results = [flaky.delay(i) for i in range(100)]
    expect([r.get(timeout=WAIT) for r in results], [[i, 2] for i in range(100)], "results after two retries")


def countdown_and_eta():
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    results = [add.apply_async((i, 1), countdown=0.5) for i in range(50)]
    results += [add.apply_async((i, 1), eta=eta) for i in range(50, 100)]
    expect([r.get(timeout=WAIT) for r in results], [i + 1 for i in range(100)], "sums")


def failures():
    results = [fails.delay(i) for i in range(50)]
    expect([str(r.get(timeout=WAIT, propagate=False)) for r in results], [f"no {i}" for i in range(50)], "exceptions")


def canvas():
    expect(group(add.s(i, 1) for i in range(30))().get(timeout=WAIT), [i + 1 for i in range(30)], "group")
    results = [chain(add.s(i, 1), add.s(10))() for i in range(5)]
    expect([r.get(timeout=WAIT) for r in results], [i + 11 for i in range(5)], "chain")


def priority_and_size():
    results = [echo.apply_async(("x" * 20_000,), priority=i % 10) for i in range(10)]
    expect({len(r.get(timeout=WAIT)) for r in results}, {20_000}, "sizes")


def expiry():
    """A task past its expiry is revoked by the worker; one within it runs."""
    late = echo.apply_async((1,), expires=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5))
    timely = echo.apply_async((2,), expires=60)
    expect(timely.get(timeout=WAIT), 2, "timely")
    late.get(timeout=WAIT, propagate=False)
    expect(late.state, "REVOKED", "late")


def remote_control():
    replies = app.control.inspect(timeout=5).ping()
    expect(list(replies.values()), [{"ok": "pong"}], "ping over the pidbox exchanges")


CHECKS = [
    ("tasks", plain), ("retries", retries), ("countdown-eta", countdown_and_eta), ("failures", failures),
    ("canvas", canvas), ("priority", priority_and_size), ("expires", expiry), ("remote-control", remote_control),
]

worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "ERROR",
     "--hostname", f"{PREFIX}@localhost", "--without-mingle"],
    cwd=os.path.dirname(os.path.abspath(__file__)), stdout=sys.stderr)
failed = False
try:
    for name, check in CHECKS:
        try:
            check()
            print("ok", name, flush=True)
        except Exception as e:
            failed = True
            traceback.print_exc()
            print(f"FAIL {name}: {e!r}", flush=True)
finally:
    worker.send_signal(signal.SIGTERM)
    try:
        if worker.wait(timeout=30) == 0:
            print("ok warm-shutdown", flush=True)
        else:
            failed = True
            print(f"FAIL warm-shutdown: exit status {worker.returncode}", flush=True)
    except subprocess.TimeoutExpired:
        failed = True
        worker.kill()
        print("FAIL warm-shutdown: still running after 30 s", flush=True)
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(os.environ["QUEUE"])
sys.exit(failed)
