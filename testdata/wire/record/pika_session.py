"""The session that pika.wire records: python3 pika_session.py, with AMQP_URL set."""
import datetime
import decimal
import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare("wire-pika", "topic", durable=False, auto_delete=True,
                         arguments={"alternate-exchange": "amq.fanout"})
channel.queue_declare("wire-pika", exclusive=True, arguments={"x-max-length": 10, "x-message-ttl": 600000})
channel.queue_bind("wire-pika", "wire-pika", "a.*", arguments={"note": "bound"})
channel.confirm_delivery()
channel.basic_qos(prefetch_count=7)
channel.basic_publish("wire-pika", "a.b", b"every property", pika.BasicProperties(
    content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3, correlation_id="corr-1",
    reply_to="reply-here", expiration="60000", message_id="msg-1", timestamp=1700000000, type="kind",
    user_id="guest", app_id="wire", cluster_id="none",
    headers={
        "bool": True, "int": 42, "negative": -7, "big": 2**40, "string": "grün", "bytes": b"\x00\xff",
        "none": None, "decimal": decimal.Decimal("3.14"),
        "time": datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.timezone.utc),
        "list": [1, "two", [3], {"four": 4}], "table": {"x": {"y": "deep"}}, "empty": {}, "empty-list": [],
    }), mandatory=True)
channel.basic_publish("wire-pika", "a.empty", b"", pika.BasicProperties())
channel.basic_publish("wire-pika", "a.plain", b"x" * 300)
seen = 0
for method, properties, body in channel.consume("wire-pika", inactivity_timeout=5):
    seen += 1
    if seen == 1:
        channel.basic_ack(method.delivery_tag)
    elif seen == 2:
        channel.basic_nack(method.delivery_tag, requeue=False)
    else:
        channel.basic_reject(method.delivery_tag, requeue=False)
        break
channel.cancel()
channel.basic_get("wire-pika", auto_ack=True)
try:
    connection.channel().queue_declare("wire-absent", passive=True)
except pika.exceptions.ChannelClosedByBroker:
    pass
channel.queue_unbind("wire-pika", "wire-pika", "a.*", arguments={"note": "bound"})
channel.queue_purge("wire-pika")
channel.queue_delete("wire-pika")
channel.close()
connection.close()
