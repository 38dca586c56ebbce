"""The Celery application that client.py and its worker share; the broker and the queue come from the environment."""

import os

from celery import Celery

app = Celery("tasks", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    task_acks_late=True,  # an ack after the task, so requeues and prefetch are used in earnest
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_queue_max_priority=10,
    result_expires=120,
    worker_enable_remote_control=True,
)


class Flaky(Exception):
    pass


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=3)
def flaky(self, n):
    """Fails twice, then answers."""
    if self.request.retries < 2:
        raise self.retry(exc=Flaky(), countdown=0.1)
    return [n, self.request.retries]


@app.task(throws=(ValueError,))
def fails(n):
    raise ValueError(f"no {n}")


@app.task
def echo(value):
    return value
