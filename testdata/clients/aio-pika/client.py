"""aio-pika, robust connections on asyncio. Usage: client.py URL PREFIX"""

import asyncio
import datetime
import sys
import traceback

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError

URL, PREFIX = sys.argv[1:3]
WAIT = 15  # seconds until a message counts as lost


def expect(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


async def exclusive(ch, name, **arguments):
    arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
    return await ch.declare_queue(f"{PREFIX}.{name}", exclusive=True, arguments=arguments)


async def take(queue, n, no_ack=True):
    got = []

    async def loop():
        async with queue.iterator(no_ack=no_ack) as messages:
            async for message in messages:
                got.append(message)
                if len(got) == n:
                    return

    await asyncio.wait_for(loop(), WAIT)
    return got


async def send(ch, queue, body, **properties):
    return await ch.default_exchange.publish(Message(body, **properties), queue.name)


async def publish_consume(connection):
    ch = await connection.channel()
    queue = await exclusive(ch, "publish")
    await asyncio.gather(*[send(ch, queue, b"m%d" % i, content_type="text/plain", correlation_id=str(i), type="greeting",
                                timestamp=1700000000 + i, priority=3) for i in range(200)])
    got = await take(queue, 200)
    expect([m.body for m in got], [b"m%d" % i for i in range(200)], "bodies in order")
    m = got[7]
    expect((m.content_type, m.correlation_id, m.type, m.timestamp.timestamp(), m.priority),
           ("text/plain", "7", "greeting", 1700000007, 3), "properties")


async def confirm(connection):
    ch = await connection.channel()
    queue = await ch.declare_queue(f"{PREFIX}.confirm", durable=True)
    confirms = await asyncio.gather(
        *[send(ch, queue, b"x" * 100, delivery_mode=DeliveryMode.PERSISTENT) for _ in range(500)])
    expect({type(c).__name__ for c in confirms}, {"Ack"}, "confirms")
    other = await connection.channel()  # ch remembers what the first declare-ok said
    again = await other.declare_queue(queue.name, passive=True)
    expect(again.declaration_result.message_count, 500, "message count")
    await queue.purge()
    await queue.delete()


async def mandatory_return(connection):
    ch = await connection.channel(on_return_raises=True)
    try:
        await ch.default_exchange.publish(Message(b"lost"), f"{PREFIX}.nowhere", mandatory=True)
    except DeliveryError as e:
        m = e.message
        expect((m.delivery.reply_code, m.delivery.reply_text, m.delivery.routing_key, m.body),
               (312, "NO_ROUTE", f"{PREFIX}.nowhere", b"lost"), "basic.return")
    else:
        raise AssertionError("no basic.return came")


async def ttl(connection):
    ch = await connection.channel()
    dead = await exclusive(ch, "ttl.dead")
    to_dead = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": dead.name}
    by_queue = await exclusive(ch, "ttl.queue", x_message_ttl=40, **to_dead)
    by_message = await exclusive(ch, "ttl.message", **to_dead)
    await send(ch, by_queue, b"1")
    expect((await take(dead, 1))[0].headers["x-death"][0]["reason"], "expired", "reason")
    await send(ch, by_message, b"2", expiration=0.04)
    m = (await take(dead, 1))[0]
    expect((m.expiration, m.headers["x-death"][0]["original-expiration"]), (None, "40"), "expiration")


async def dead_letter(connection):
    ch = await connection.channel()
    dead = await exclusive(ch, "dlx.dead")
    dlx = await ch.declare_exchange(f"{PREFIX}.dlx", ExchangeType.FANOUT, auto_delete=True)
    await dead.bind(dlx)
    work = await exclusive(ch, "dlx.work", x_dead_letter_exchange=dlx.name)
    await send(ch, work, b"a", headers={"mine": 1})
    await (await work.get()).reject(requeue=False)
    m = (await take(dead, 1))[0]
    death = dict(m.headers["x-death"][0])
    expect(isinstance(death.pop("time"), datetime.datetime), True, "time is a timestamp")
    expect(death, {"count": 1, "reason": "rejected", "queue": work.name, "exchange": "", "routing-keys": [work.name]}, "x-death")
    expect((m.body, m.headers["mine"], m.headers["x-first-death-queue"]), (b"a", 1, work.name), "message")


async def priority(connection):
    ch = await connection.channel()
    queue = await exclusive(ch, "priority", x_max_priority=10)
    for p in (1, 9, 5, 9):
        await send(ch, queue, b"%d" % p, priority=p)
    expect([(await queue.get(no_ack=True)).body for _ in range(4)], [b"9", b"9", b"5", b"1"], "order")


async def reply_to(connection):
    """A robust channel would consume again under a new name; direct reply-to lives on a plain channel."""
    ch = await connection.channel()
    queue = await exclusive(ch, "rpc")

    async def serve(message):
        if not message.reply_to.startswith("amq.rabbitmq.reply-to."):
            raise AssertionError(f"reply_to {message.reply_to!r}")
        await ch.default_exchange.publish(
            Message(b"re:" + message.body, correlation_id=message.correlation_id), message.reply_to)

    await queue.consume(serve, no_ack=True)
    caller = await aio_pika.connect(URL)
    async with caller:
        call = await caller.channel()
        replies = asyncio.Queue()
        direct = await call.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await direct.consume(replies.put, no_ack=True)
        for i in range(5):
            await call.default_exchange.publish(
                Message(b"%d" % i, correlation_id=f"c{i}", reply_to="amq.rabbitmq.reply-to"), queue.name)
        got = [await asyncio.wait_for(replies.get(), WAIT) for _ in range(5)]
        expect([(m.correlation_id, m.body) for m in got], [(f"c{i}", b"re:%d" % i) for i in range(5)], "replies")


async def tx(connection):
    ch = await connection.channel(publisher_confirms=False)
    queue = await exclusive(ch, "tx")
    async with ch.transaction():
        await send(ch, queue, b"kept")
        expect(await queue.get(fail=False), None, "get before commit")
    try:
        async with ch.transaction():
            await send(ch, queue, b"dropped")
            raise LookupError("roll back")
    except LookupError:
        pass
    m = await queue.get(no_ack=True)
    expect((m.body, m.message_count), (b"kept", 0), "after rollback")


async def errors(connection):
    missing = f"{PREFIX}.missing"
    try:
        await (await connection.channel()).declare_queue(missing, passive=True)
        raise AssertionError("passive declare of a missing queue succeeded")
    except ChannelNotFoundEntity as e:
        expect(str(e), f"NOT_FOUND - no queue '{missing}' in vhost '/'", "passive declare")
    ch = await connection.channel()
    queue = await exclusive(ch, "errors", x_max_length=5)
    try:
        await exclusive(await connection.channel(), "errors", x_max_length=6)
        raise AssertionError("inequivalent redeclare succeeded")
    except ChannelPreconditionFailed as e:
        want = (f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue.name}' in vhost '/': "
                "received '6' but current is '5'")
        expect(str(e), want, "redeclare")
    await send(ch, queue, b"alive")
    expect((await take(queue, 1))[0].body, b"alive", "after the errors")


async def acknowledge(connection):
    ch = await connection.channel()
    await ch.set_qos(prefetch_count=4)
    queue = await exclusive(ch, "ack")
    for body in (b"1", b"2", b"3", b"4"):
        await send(ch, queue, body)
    m1, m2, m3, m4 = [await queue.get() for _ in range(4)]
    await m1.ack()
    await m3.nack(multiple=True, requeue=True)  # 2 and 3
    await m4.reject(requeue=True)
    got = [await queue.get() for _ in range(3)]
    expect([(m.body, m.redelivered) for m in got], [(b"2", True), (b"3", True), (b"4", True)], "redelivery")
    for m in got:
        async with m.process():
            pass
    expect(await queue.get(fail=False), None, "left")


async def headers(connection):
    ch = await connection.channel()
    queue = await exclusive(ch, "headers")
    exchange = await ch.declare_exchange(f"{PREFIX}.headers", ExchangeType.HEADERS, auto_delete=True)
    await queue.bind(exchange, arguments={"x-match": "any", "kind": "a", "n": 1})
    sent = {"kind": "c", "n": 1, "big": 2**40, "negative": -5, "yes": True, "no": False, "void": None, "double": 1.5,
            "when": datetime.datetime(2024, 2, 29, 12, 0, 0, tzinfo=datetime.timezone.utc), "list": [1, "two", {"three": 3}],
            "table": {"deep": {"deeper": "x"}}, "bytes": bytearray(b"\x00\xff"), "text": "gr\u00fc\u00dfe"}
    for h in ({"kind": "b", "n": 2}, {"n": "1"}, sent):
        await exchange.publish(Message(b"h", headers=h), "", mandatory=False)
    expect((await take(queue, 1))[0].headers, sent, "headers")


async def large_body(connection):
    ch = await connection.channel()
    queue = await exclusive(ch, "large")
    body = bytes(range(256)) * (5 * 1024 * 1024 // 256)
    await send(ch, queue, body)
    if (await take(queue, 1))[0].body != body:
        raise AssertionError("5 MiB came back changed")


CHECKS = [
    ("publish-consume", publish_consume), ("confirm", confirm), ("return", mandatory_return), ("ttl", ttl),
    ("dead-letter", dead_letter), ("priority", priority), ("reply-to", reply_to), ("tx", tx), ("errors", errors),
    ("ack", acknowledge), ("headers", headers), ("large-body", large_body),
]


async def main():
    failed = False
    for name, check in CHECKS:
        try:
            async with await aio_pika.connect_robust(URL) as connection:
                await asyncio.wait_for(check(connection), 2 * WAIT)
            print("ok", name, flush=True)
        except Exception as e:
            failed = True
            traceback.print_exc()
            print(f"FAIL {name}: {e!r}", flush=True)
    sys.exit(failed)


asyncio.run(main())
