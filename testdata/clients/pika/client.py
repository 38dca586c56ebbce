"""pika, the blocking adapter. Usage: client.py URL PREFIX"""

import datetime
import functools
import sys
import traceback
from decimal import Decimal

import pika
from pika.exceptions import ChannelClosedByBroker, UnroutableError

URL, PREFIX = sys.argv[1:3]


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))


def expect(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def on_channel(check):
    """Runs check with a channel of a connection of its own."""

    @functools.wraps(check)
    def run():
        connection = connect()
        try:
            check(connection.channel())
        finally:
            if connection.is_open:
                connection.close()

    return run


def exclusive(ch, name, **arguments):
    queue = f"{PREFIX}.{name}"
    arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
    ch.queue_declare(queue, exclusive=True, arguments=arguments)
    return queue


def take(ch, queue, n, auto_ack=True):
    """Consumes n messages; fails when none comes for 15 seconds."""
    got = []
    for method, properties, body in ch.consume(queue, auto_ack=auto_ack, inactivity_timeout=15):
        if method is None:
            raise AssertionError(f"{len(got)} of {n} messages came")
        got.append((method, properties, body))
        if len(got) == n:
            break
    ch.cancel()
    return got


def send(ch, queue, body, **properties):
    ch.basic_publish("", queue, body, pika.BasicProperties(**properties))


@on_channel
def publish_consume(ch):
    queue = exclusive(ch, "publish")
    for i in range(200):
        send(ch, queue, b"m%d" % i, content_type="text/plain", correlation_id=str(i), message_id=f"id{i}",
             type="greeting", app_id="interop", user_id="guest", timestamp=1700000000 + i, priority=3)
    got = take(ch, queue, 200)
    expect([body for _, _, body in got], [b"m%d" % i for i in range(200)], "bodies in order")
    p = got[7][1]
    expect((p.content_type, p.correlation_id, p.message_id, p.type, p.app_id, p.user_id, p.timestamp, p.priority),
           ("text/plain", "7", "id7", "greeting", "interop", "guest", 1700000007, 3), "properties")


@on_channel
def confirm(ch):
    queue = f"{PREFIX}.confirm"
    ch.queue_declare(queue, durable=True)
    ch.confirm_delivery()
    for i in range(100):
        send(ch, queue, b"x" * 100, delivery_mode=2)  # returns when the broker has confirmed
    expect(ch.queue_declare(queue, passive=True).method.message_count, 100, "message count")
    expect(ch.queue_purge(queue).method.message_count, 100, "purged")
    ch.queue_delete(queue)


@on_channel
def mandatory_return(ch):
    ch.confirm_delivery()
    try:
        ch.basic_publish("amq.direct", f"{PREFIX}.nowhere", b"lost", mandatory=True)
    except UnroutableError as e:
        m = e.messages[0]
        expect((m.method.reply_code, m.method.reply_text, m.method.exchange, m.method.routing_key, m.body),
               (312, "NO_ROUTE", "amq.direct", f"{PREFIX}.nowhere", b"lost"), "basic.return")
    else:
        raise AssertionError("no basic.return came")


@on_channel
def ttl(ch):
    dead = exclusive(ch, "ttl.dead")
    by_queue = exclusive(ch, "ttl.queue", x_message_ttl=40, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    by_message = exclusive(ch, "ttl.message", x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    send(ch, by_queue, b"1")
    expect(take(ch, dead, 1)[0][1].headers["x-death"][0]["reason"], "expired", "reason")
    send(ch, by_message, b"2", expiration="40")
    _, p, _ = take(ch, dead, 1)[0]
    expect(p.expiration, None, "expiration after dead-lettering")
    expect(p.headers["x-death"][0]["original-expiration"], "40", "original-expiration")


@on_channel
def dead_letter(ch):
    dead = exclusive(ch, "dlx.dead")
    ch.exchange_declare(f"{PREFIX}.dlx", "fanout", auto_delete=True)
    ch.queue_bind(dead, f"{PREFIX}.dlx")
    work = exclusive(ch, "dlx.work", x_dead_letter_exchange=f"{PREFIX}.dlx", x_max_length=2)
    for body in (b"a", b"b", b"c"):  # a leaves by x-max-length
        send(ch, work, body)
    method, p, body = take(ch, dead, 1)[0]
    expect((body, p.headers["x-death"][0]["reason"]), (b"a", "maxlen"), "overflow")
    method, _, _ = ch.basic_get(work)
    ch.basic_reject(method.delivery_tag, requeue=False)
    _, p, body = take(ch, dead, 1)[0]
    death = p.headers["x-death"][0]
    expect(isinstance(death.pop("time"), datetime.datetime), True, "time is a timestamp")
    expect((body, death), (b"b", {"count": 1, "reason": "rejected", "queue": work, "exchange": "", "routing-keys": [work]}), "x-death")
    expect((p.headers["x-first-death-reason"], p.headers["x-first-death-queue"]), ("rejected", work), "x-first-death")


@on_channel
def priority(ch):
    queue = exclusive(ch, "priority", x_max_priority=10)
    for p in (1, 9, 5, 9, 200):
        send(ch, queue, b"%d" % p, priority=p)
    send(ch, queue, b"none")
    order = [ch.basic_get(queue, auto_ack=True)[2] for _ in range(6)]
    expect(order, [b"200", b"9", b"9", b"5", b"1", b"none"], "order")


@on_channel
def reply_to(ch):
    """One connection serves, another calls by amq.rabbitmq.reply-to."""
    queue = exclusive(ch, "rpc")
    caller = connect()
    try:
        call = caller.channel()
        replies = []
        call.basic_consume("amq.rabbitmq.reply-to", lambda c, m, p, b: replies.append((p.correlation_id, b)), auto_ack=True)
        for i in range(5):
            send(call, queue, b"%d" % i, reply_to="amq.rabbitmq.reply-to", correlation_id=f"c{i}")
        for _, p, body in take(ch, queue, 5):
            if not p.reply_to.startswith("amq.rabbitmq.reply-to."):
                raise AssertionError(f"reply_to {p.reply_to!r}")
            send(ch, p.reply_to, b"re:" + body, correlation_id=p.correlation_id)
        while len(replies) < 5:
            caller.process_data_events(time_limit=15)
        expect(replies, [(f"c{i}", b"re:%d" % i) for i in range(5)], "replies")
    finally:
        caller.close()


@on_channel
def tx(ch):
    queue = exclusive(ch, "tx")
    ch.tx_select()
    send(ch, queue, b"kept")
    expect(ch.basic_get(queue)[0], None, "get before commit")
    ch.tx_commit()
    send(ch, queue, b"dropped")
    ch.tx_rollback()
    method, _, body = ch.basic_get(queue)
    expect((body, method.message_count), (b"kept", 0), "after rollback")
    ch.basic_ack(method.delivery_tag)
    ch.tx_commit()


def errors():
    connection = connect()
    missing, queue = f"{PREFIX}.missing", f"{PREFIX}.errors"
    try:
        connection.channel().queue_declare(missing, passive=True)
        raise AssertionError("passive declare of a missing queue succeeded")
    except ChannelClosedByBroker as e:
        expect((e.reply_code, e.reply_text), (404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"), "passive declare")
    ch = connection.channel()
    exclusive(ch, "errors", x_max_length=5)
    try:
        exclusive(ch, "errors", x_max_length=6)
        raise AssertionError("inequivalent redeclare succeeded")
    except ChannelClosedByBroker as e:
        want = (f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue}' in vhost '/': "
                "received '6' but current is '5'")
        expect((e.reply_code, e.reply_text), (406, want), "redeclare")
    ch = connection.channel()
    send(ch, queue, b"alive")
    expect(take(ch, queue, 1)[0][2], b"alive", "after the errors")
    connection.close()


@on_channel
def acknowledge(ch):
    queue = exclusive(ch, "ack")
    for body in (b"1", b"2", b"3", b"4"):
        send(ch, queue, body)
    ch.basic_qos(prefetch_count=4)
    tags = [ch.basic_get(queue)[0].delivery_tag for _ in range(4)]
    ch.basic_ack(tags[0])
    ch.basic_nack(tags[2], multiple=True, requeue=True)  # 2 and 3
    ch.basic_reject(tags[3], requeue=True)
    got = take(ch, queue, 3, auto_ack=False)
    expect([(body, method.redelivered) for method, _, body in got], [(b"2", True), (b"3", True), (b"4", True)], "redelivery")
    ch.basic_ack(got[-1][0].delivery_tag, multiple=True)
    expect(ch.queue_declare(queue, passive=True).method.message_count, 0, "left")


@on_channel
def headers(ch):
    queue = exclusive(ch, "headers")
    ch.exchange_declare(f"{PREFIX}.headers", "headers", auto_delete=True)
    ch.queue_bind(queue, f"{PREFIX}.headers", "", {"x-match": "all", "kind": "a", "n": 1})
    sent = {"kind": "a", "n": 1, "big": 2**40, "negative": -5, "yes": True, "no": False, "void": None, "decimal": Decimal("1.5"),
            "when": datetime.datetime(2024, 2, 29, 12, 0, 0, tzinfo=datetime.timezone.utc), "list": [1, "two", {"three": 3}],
            "table": {"deep": {"deeper": "x"}}, "bytes": b"\x00\xff", "text": "gr\u00fc\u00dfe"}
    for h in ({"kind": "b", "n": 1}, {"kind": "a"}, {"kind": "a", "n": "1"}, sent):
        ch.basic_publish(f"{PREFIX}.headers", "", b"h", pika.BasicProperties(headers=h))
    got = take(ch, queue, 1)[0][1].headers
    got["when"] = got["when"].replace(tzinfo=datetime.timezone.utc)
    expect(got, sent, "headers")


@on_channel
def large_body(ch):
    queue = exclusive(ch, "large")
    body = bytes(range(256)) * (5 * 1024 * 1024 // 256)
    send(ch, queue, body)
    if take(ch, queue, 1)[0][2] != body:
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
