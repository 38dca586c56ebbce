"""kombu on py-amqp, the way Celery and OpenStack speak AMQP. Usage: client.py URL PREFIX"""

import datetime
import functools
import socket
import sys
import traceback

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection, Consumer, Exchange, Producer, Queue

URL, PREFIX = sys.argv[1:3]
WAIT = 15  # seconds until a message counts as lost


def expect(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def with_connection(**options):
    def decorate(check):
        @functools.wraps(check)
        def run():
            with Connection(URL, **options) as connection:
                check(connection)

        return run

    return decorate


def exclusive(channel, name, **options):
    queue = Queue(f"{PREFIX}.{name}", exclusive=True, durable=False, **options)(channel)
    queue.auto_delete = False  # which kombu sets for every exclusive queue
    queue.declare()
    return queue


def take(connection, queue, n, **options):
    got = []
    options = options or {"no_ack": True}
    with Consumer(connection.channel(), [queue], callbacks=[lambda body, message: got.append(message)],
                  accept=["json", "text/plain"], auto_declare=False, **options):
        while len(got) < n:
            try:
                connection.drain_events(timeout=WAIT)
            except socket.timeout:
                raise AssertionError(f"{len(got)} of {n} messages came") from None
    return got[:n]


@with_connection()
def publish_consume(connection):
    queue = exclusive(connection.default_channel, "publish")
    producer = Producer(connection)
    for i in range(200):
        producer.publish({"n": i}, routing_key=queue.name, correlation_id=str(i), priority=3, app_id="interop",
                         compression="zlib" if i == 7 else None)
    got = take(connection, queue, 200)
    expect([m.payload["n"] for m in got], list(range(200)), "bodies in order")
    p = got[7].properties
    expect((got[7].content_type, p["correlation_id"], p["priority"], p["app_id"], p["delivery_mode"]),
           ("application/json", "7", 3, "interop", 2), "properties")


@with_connection(transport_options={"confirm_publish": True})
def confirm(connection):
    queue = Queue(f"{PREFIX}.confirm", durable=True)(connection.default_channel)
    queue.declare()
    producer = Producer(connection)
    for _ in range(100):
        producer.publish("x" * 100, routing_key=queue.name)  # persistent, and waits for its confirm
    expect(queue.queue_declare(passive=True).message_count, 100, "message count")
    expect(queue.purge(), 100, "purged")
    queue.delete()


@with_connection(transport_options={"confirm_publish": True})
def mandatory_return(connection):
    returned = []
    producer = Producer(connection, on_return=lambda e, exchange, key, message: returned.append(
        (e.reply_code, e.reply_text, key, message.body)))
    producer.publish(b"lost", routing_key=f"{PREFIX}.nowhere", mandatory=True)
    expect(returned, [(312, "NO_ROUTE", f"{PREFIX}.nowhere", b"lost")], "basic.return before the confirm")


@with_connection()
def ttl(connection):
    ch = connection.default_channel
    dead = exclusive(ch, "ttl.dead")
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
    by_queue = exclusive(ch, "ttl.queue", message_ttl=0.04, queue_arguments=to_dead)
    by_message = exclusive(ch, "ttl.message", queue_arguments=to_dead)
    producer = Producer(ch)
    producer.publish("1", routing_key=by_queue.name)
    expect(take(connection, dead, 1)[0].headers["x-death"][0]["reason"], "expired", "reason")
    producer.publish("2", routing_key=by_message.name, expiration=0.04)
    death = take(connection, dead, 1)[0].headers["x-death"][0]
    expect((death["reason"], death["original-expiration"]), ("expired", "40"), "x-death")


@with_connection()
def dead_letter(connection):
    ch = connection.default_channel
    dlx = Exchange(f"{PREFIX}.dlx", "fanout", durable=False, auto_delete=True)
    dead = exclusive(ch, "dlx.dead", exchange=dlx)
    work = exclusive(ch, "dlx.work", max_length=2, queue_arguments={"x-dead-letter-exchange": dlx.name})
    producer = Producer(ch)
    for body in "abc":  # a leaves by max_length
        producer.publish(body, routing_key=work.name)
    m = take(connection, dead, 1)[0]
    expect((m.payload, m.headers["x-death"][0]["reason"]), ("a", "maxlen"), "overflow")
    work.get().reject()
    m = take(connection, dead, 1)[0]
    death = m.headers["x-death"][0]
    expect(isinstance(death.pop("time"), datetime.datetime), True, "time is a timestamp")
    expect((m.payload, death),
           ("b", {"count": 1, "reason": "rejected", "queue": work.name, "exchange": "", "routing-keys": [work.name]}), "x-death")


@with_connection()
def priority(connection):
    ch = connection.default_channel
    queue = exclusive(ch, "priority", max_priority=10)
    for p in (1, 9, 5, 9):
        Producer(ch).publish(p, routing_key=queue.name, priority=p)
    expect([queue.get(no_ack=True).payload for _ in range(4)], [9, 9, 5, 1], "order")


@with_connection()
def reply_to(connection):
    ch = connection.default_channel
    queue = exclusive(ch, "rpc")
    with Connection(URL) as other:
        call, replies = other.default_channel, []
        direct = Queue("amq.rabbitmq.reply-to", no_declare=True)
        with Consumer(call, [direct], no_ack=True, callbacks=[lambda body, m: replies.append((m.properties["correlation_id"], body))]):
            for i in range(5):
                Producer(call).publish(i, routing_key=queue.name, reply_to=direct.name, correlation_id=f"c{i}")
            for m in take(connection, queue, 5):
                if not m.properties["reply_to"].startswith("amq.rabbitmq.reply-to."):
                    raise AssertionError(f"reply_to {m.properties['reply_to']!r}")
                Producer(ch).publish(m.payload * 10, routing_key=m.properties["reply_to"],
                                     correlation_id=m.properties["correlation_id"])
            while len(replies) < 5:
                other.drain_events(timeout=WAIT)
        expect(replies, [(f"c{i}", i * 10) for i in range(5)], "replies")


@with_connection()
def tx(connection):
    ch = connection.default_channel
    queue = exclusive(ch, "tx")
    ch.tx_select()
    producer = Producer(ch)
    producer.publish("kept", routing_key=queue.name)
    expect(queue.get(), None, "get before commit")
    ch.tx_commit()
    producer.publish("dropped", routing_key=queue.name)
    ch.tx_rollback()
    expect(queue.get(no_ack=True).payload, "kept", "after rollback")
    expect(queue.get(no_ack=True), None, "after that")


@with_connection()
def errors(connection):
    missing = f"{PREFIX}.missing"
    try:
        Queue(missing)(connection.channel()).queue_declare(passive=True)
        raise AssertionError("passive declare of a missing queue succeeded")
    except NotFound as e:
        expect((e.reply_code, e.reply_text), (404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"), "passive declare")
    queue = exclusive(connection.channel(), "errors", max_length=5)
    try:
        exclusive(connection.channel(), "errors", max_length=6)
        raise AssertionError("inequivalent redeclare succeeded")
    except PreconditionFailed as e:
        want = (f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue.name}' in vhost '/': "
                "received '6' but current is '5'")
        expect((e.reply_code, e.reply_text), (406, want), "redeclare")
    Producer(connection.channel()).publish("alive", routing_key=queue.name)
    expect(take(connection, queue, 1)[0].payload, "alive", "after the errors")


@with_connection()
def acknowledge(connection):
    ch = connection.default_channel
    queue = exclusive(ch, "ack")
    for n in (1, 2, 3):
        Producer(ch).publish(n, routing_key=queue.name)
    first, second, third = queue.get(), queue.get(), queue.get()
    first.ack()
    second.requeue()
    third.reject(requeue=True)
    got = take(connection, queue, 2, prefetch_count=10)
    expect([(m.payload, m.delivery_info["redelivered"]) for m in got], [(2, True), (3, True)], "redelivery")
    got[1].ack(multiple=True)
    expect(queue.queue_declare(passive=True).message_count, 0, "left")


@with_connection()
def headers(connection):
    ch = connection.default_channel
    exchange = Exchange(f"{PREFIX}.headers", "headers", durable=False, auto_delete=True)(ch)
    queue = exclusive(ch, "headers", exchange=exchange, binding_arguments={"x-match": "all", "kind": "a", "n": 1})
    sent = {"kind": "a", "n": 1, "big": 2**40, "negative": -5, "yes": True, "no": False, "void": None, "double": 1.5,
            "when": datetime.datetime(2024, 2, 29, 12, 0, 0), "list": [1, "two", {"three": 3}],
            "table": {"deep": {"deeper": "x"}}, "text": "gr\u00fc\u00dfe"}
    for h in ({"kind": "b", "n": 1}, {"kind": "a"}, {"kind": "a", "n": "1"}, sent):
        Producer(ch).publish("h", exchange=exchange, headers=h)
    expect(take(connection, queue, 1)[0].headers, sent, "headers")


@with_connection()
def large_body(connection):
    ch = connection.default_channel
    queue = exclusive(ch, "large")
    body = bytes(range(256)) * (5 * 1024 * 1024 // 256)
    Producer(ch).publish(body, routing_key=queue.name)
    if bytes(take(connection, queue, 1)[0].body) != body:
        raise AssertionError("5 MiB came back changed")


CHECKS = [
    ("publish-consume", publish_consume), ("confirm", confirm), ("return", mandatory_return), ("ttl", ttl),
    ("dead-letter", dead_letter), ("priority", priority), ("reply-to", reply_to), ("tx", tx), ("errors", errors),
    ("ack", acknowledge), ("headers", headers), ("large-body", large_body),
]

failed = False
for name, check in CHECKS:
    try:
        check()
        print("ok", name, flush=True)
    except Exception as e:
        failed = True
        traceback.print_exc()
        print(f"FAIL {name}: {e!r}", flush=True)
sys.exit(failed)
