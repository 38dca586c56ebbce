//! lapin on tokio. Usage: lapin-client URL PREFIX

use std::{fmt::Debug, future::Future, pin::Pin, sync::Mutex, time::Duration};

use futures_lite::StreamExt;
use lapin::{
    message::Delivery,
    options::*,
    types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString},
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, ExchangeKind,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<(), Failure>;

const WAIT: Duration = Duration::from_secs(15); // until a message counts as lost

fn expect<T: PartialEq + Debug>(got: T, want: T, what: &str) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, want {want:?}").into())
}

fn text(s: &str) -> AMQPValue {
    AMQPValue::LongString(s.into())
}

fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut t = FieldTable::default();
    for (key, value) in pairs {
        t.insert(key.into(), value);
    }
    t
}

/// What a check works with: a connection of its own and names of its own.
struct Env {
    connection: Connection,
    channels: Mutex<Vec<Channel>>, // open until the connection closes: lapin closes a channel that is dropped
    url: String,
    prefix: String,
}

impl Env {
    async fn channel(&self) -> lapin::Result<Channel> {
        let ch = self.connection.create_channel().await?;
        self.channels.lock().unwrap().push(ch.clone());
        Ok(ch)
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    async fn exclusive(&self, ch: &Channel, name: &str, arguments: FieldTable) -> lapin::Result<String> {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = ch.queue_declare(self.name(name).into(), options, arguments).await?;
        Ok(queue.name().to_string())
    }
}

async fn send(ch: &Channel, queue: &str, body: &[u8], properties: BasicProperties) -> lapin::Result<()> {
    ch.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties).await?;
    Ok(())
}

async fn take(ch: &Channel, queue: &str, n: usize, no_ack: bool) -> Result<Vec<Delivery>, Failure> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    let mut consumer = ch.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    let mut got = Vec::new();
    while got.len() < n {
        match tokio::time::timeout(WAIT, consumer.next()).await {
            Ok(Some(delivery)) => got.push(delivery?),
            _ => return Err(format!("{} of {n} messages came", got.len()).into()),
        }
    }
    ch.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    Ok(got)
}

async fn get(ch: &Channel, queue: &str) -> lapin::Result<Option<String>> {
    let got = ch.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
    Ok(got.map(|m| body(&m.delivery)))
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

fn headers_of(delivery: &Delivery) -> FieldTable {
    delivery.properties.headers().clone().unwrap_or_default()
}

/// The first entry of x-death.
fn death(delivery: &Delivery) -> Result<FieldTable, Failure> {
    match headers_of(delivery).inner().get("x-death").and_then(|v| v.as_array()?.as_slice().first().cloned()) {
        Some(AMQPValue::FieldTable(t)) => Ok(t),
        other => Err(format!("x-death begins with {other:?}").into()),
    }
}

fn field(t: &FieldTable, key: &str) -> AMQPValue {
    t.inner().get(key).cloned().unwrap_or(AMQPValue::Void)
}

async fn publish_consume(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "publish", FieldTable::default()).await?;
    for i in 0..200 {
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_correlation_id(i.to_string().into())
            .with_type("greeting".into())
            .with_user_id("guest".into())
            .with_timestamp(1_700_000_000)
            .with_priority(3);
        send(&ch, &queue, format!("m{i}").as_bytes(), properties).await?;
    }
    let got = take(&ch, &queue, 200, true).await?;
    expect(got.iter().map(body).collect(), (0..200).map(|i| format!("m{i}")).collect::<Vec<_>>(), "bodies in order")?;
    let want = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_correlation_id("7".into())
        .with_type("greeting".into())
        .with_user_id("guest".into())
        .with_timestamp(1_700_000_000)
        .with_priority(3);
    expect(&got[7].properties, &want, "properties")
}

async fn confirm(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue: ShortString = env.name("confirm").into();
    ch.queue_declare(queue.clone(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    ch.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut confirms = Vec::new();
    for _ in 0..300 {
        let properties = BasicProperties::default().with_delivery_mode(2);
        confirms.push(ch.basic_publish("".into(), queue.clone(), BasicPublishOptions::default(), &[0; 100], properties).await?);
    }
    for c in confirms {
        expect(c.await?, Confirmation::Ack(None), "confirm")?;
    }
    expect(ch.queue_purge(queue.clone(), QueuePurgeOptions::default()).await?, 300, "purged")?;
    ch.queue_delete(queue, QueueDeleteOptions::default()).await?;
    Ok(())
}

async fn mandatory_return(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    ch.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = ch
        .basic_publish("amq.direct".into(), env.name("nowhere").into(), options, b"lost", BasicProperties::default())
        .await?;
    match confirm.await? {
        Confirmation::Ack(Some(m)) => expect(
            (m.reply_code, m.reply_text.to_string(), m.delivery.routing_key.to_string(), body(&m.delivery)),
            (312, "NO_ROUTE".to_string(), env.name("nowhere"), "lost".to_string()),
            "basic.return",
        ),
        other => Err(format!("got {other:?} instead of basic.return, then ack").into()),
    }
}

async fn ttl(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let dead = env.exclusive(&ch, "ttl.dead", FieldTable::default()).await?;
    let mut arguments = table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(&dead))]);
    let by_message = env.exclusive(&ch, "ttl.message", arguments.clone()).await?;
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(40));
    let by_queue = env.exclusive(&ch, "ttl.queue", arguments).await?;
    send(&ch, &by_queue, b"1", BasicProperties::default()).await?;
    expect(field(&death(&take(&ch, &dead, 1, true).await?[0])?, "reason"), text("expired"), "reason")?;
    send(&ch, &by_message, b"2", BasicProperties::default().with_expiration("40".into())).await?;
    let m = take(&ch, &dead, 1, true).await?.remove(0);
    expect(m.properties.expiration(), &None, "expiration after dead-lettering")?;
    expect(field(&death(&m)?, "original-expiration"), text("40"), "original-expiration")
}

async fn dead_letter(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let dlx = env.name("dlx");
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    ch.exchange_declare(dlx.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
    let dead = env.exclusive(&ch, "dlx.dead", FieldTable::default()).await?;
    ch.queue_bind(dead.as_str().into(), dlx.as_str().into(), "".into(), QueueBindOptions::default(), FieldTable::default())
        .await?;
    let arguments = table([("x-dead-letter-exchange", text(&dlx)), ("x-max-length", AMQPValue::LongInt(2))]);
    let work = env.exclusive(&ch, "dlx.work", arguments).await?;
    for b in [b"a", b"b", b"c"] {
        send(&ch, &work, b, BasicProperties::default()).await?; // a leaves by x-max-length
    }
    let m = take(&ch, &dead, 1, true).await?.remove(0);
    expect((body(&m), field(&death(&m)?, "reason")), ("a".to_string(), text("maxlen")), "overflow")?;
    let rejected = ch.basic_get(work.as_str().into(), BasicGetOptions::default()).await?.ok_or("get-empty")?;
    rejected.delivery.reject(BasicRejectOptions { requeue: false }).await?;
    let m = take(&ch, &dead, 1, true).await?.remove(0);
    let got = death(&m)?;
    let mut keys = FieldArray::default();
    keys.push(text(&work));
    for (key, want) in [
        ("count", AMQPValue::LongLongInt(1)),
        ("reason", text("rejected")),
        ("queue", text(&work)),
        ("exchange", text("")),
        ("routing-keys", AMQPValue::FieldArray(keys)),
    ] {
        expect(field(&got, key), want, key)?;
    }
    expect(matches!(field(&got, "time"), AMQPValue::Timestamp(_)), true, "time is a timestamp")?;
    expect(field(&headers_of(&m), "x-first-death-queue"), text(&work), "x-first-death-queue")
}

async fn priority(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "priority", table([("x-max-priority", AMQPValue::ShortShortUInt(10))])).await?;
    for p in [1, 9, 5, 9] {
        send(&ch, &queue, p.to_string().as_bytes(), BasicProperties::default().with_priority(p)).await?;
    }
    let mut order = String::new();
    while let Some(b) = get(&ch, &queue).await? {
        order.push_str(&b);
    }
    expect(order.as_str(), "9951", "order")
}

async fn reply_to(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "rpc", FieldTable::default()).await?;
    let other = Connection::connect(&env.url, ConnectionProperties::default()).await?;
    let call = other.create_channel().await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies = call.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await?;
    for i in 0..3 {
        let properties = BasicProperties::default()
            .with_reply_to("amq.rabbitmq.reply-to".into())
            .with_correlation_id(format!("c{i}").into());
        send(&call, &queue, i.to_string().as_bytes(), properties).await?;
    }
    for m in take(&ch, &queue, 3, true).await? {
        let to = m.properties.reply_to().clone().unwrap_or_default();
        expect(to.as_str().starts_with("amq.rabbitmq.reply-to."), true, "reply_to has a token")?;
        let id = m.properties.correlation_id().clone().unwrap_or_default();
        send(&ch, to.as_str(), format!("re:{}", body(&m)).as_bytes(), BasicProperties::default().with_correlation_id(id)).await?;
    }
    for i in 0..3 {
        let reply = tokio::time::timeout(WAIT, replies.next()).await?.ok_or("the consumer ended")??;
        expect(
            (reply.properties.correlation_id().clone(), body(&reply)),
            (Some(format!("c{i}").into()), format!("re:{i}")),
            "reply",
        )?;
    }
    other.close(200, "bye".into()).await?;
    Ok(())
}

async fn tx(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "tx", FieldTable::default()).await?;
    ch.tx_select().await?;
    send(&ch, &queue, b"kept", BasicProperties::default()).await?;
    expect(get(&ch, &queue).await?, None, "get before commit")?;
    ch.tx_commit().await?;
    send(&ch, &queue, b"dropped", BasicProperties::default()).await?;
    ch.tx_rollback().await?;
    expect(get(&ch, &queue).await?, Some("kept".into()), "after rollback")?;
    expect(get(&ch, &queue).await?, None, "after that")
}

fn refusal<T>(result: lapin::Result<T>) -> Result<(u16, String), Failure> {
    match result {
        Ok(_) => Err("no error came".into()),
        Err(e) => match e.kind() {
            ErrorKind::ProtocolError(e) => Ok((e.get_id(), e.get_message().to_string())),
            other => Err(format!("{other:?}").into()),
        },
    }
}

async fn errors(env: &Env) -> Outcome {
    let missing = env.name("missing");
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    expect(
        refusal(env.channel().await?.queue_declare(missing.as_str().into(), passive, FieldTable::default()).await)?,
        (404, format!("NOT_FOUND - no queue '{missing}' in vhost '/'")),
        "passive declare",
    )?;
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "errors", table([("x-max-length", AMQPValue::LongInt(5))])).await?;
    let again = env.exclusive(&env.channel().await?, "errors", table([("x-max-length", AMQPValue::LongInt(6))])).await;
    let want = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue}' in vhost '/': received '6' but current is '5'"
    );
    expect(refusal(again)?, (406, want), "redeclare")?;
    send(&ch, &queue, b"alive", BasicProperties::default()).await?;
    expect(body(&take(&ch, &queue, 1, true).await?[0]).as_str(), "alive", "after the errors")
}

async fn acknowledge(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    ch.basic_qos(4, BasicQosOptions::default()).await?;
    let queue = env.exclusive(&ch, "ack", FieldTable::default()).await?;
    for b in [b"1", b"2", b"3", b"4"] {
        send(&ch, &queue, b, BasicProperties::default()).await?;
    }
    let first = take(&ch, &queue, 4, false).await?;
    first[0].ack(BasicAckOptions::default()).await?;
    first[2].nack(BasicNackOptions { multiple: true, requeue: true }).await?; // 2 and 3
    first[3].reject(BasicRejectOptions { requeue: true }).await?;
    let again = take(&ch, &queue, 3, false).await?;
    let got: Vec<_> = again.iter().map(|m| (body(m), m.redelivered)).collect();
    expect(got, ["2", "3", "4"].map(|b| (b.to_string(), true)).to_vec(), "redelivery")?;
    again[2].ack(BasicAckOptions { multiple: true }).await?;
    expect(ch.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?, 0, "left")
}

async fn headers(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let exchange = env.name("headers");
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    ch.exchange_declare(exchange.as_str().into(), ExchangeKind::Headers, options, FieldTable::default()).await?;
    let queue = env.exclusive(&ch, "headers", FieldTable::default()).await?;
    let one = || AMQPValue::LongInt(1);
    let matching = table([("x-match", text("all")), ("kind", text("a")), ("n", one())]);
    ch.queue_bind(queue.as_str().into(), exchange.as_str().into(), "".into(), QueueBindOptions::default(), matching).await?;
    let mut list = FieldArray::default();
    list.push(one());
    list.push(AMQPValue::FieldTable(table([("three", AMQPValue::ShortShortInt(-3))])));
    let sent = table([
        ("kind", text("a")),
        ("n", one()),
        ("yes", AMQPValue::Boolean(true)),
        ("byte", AMQPValue::ShortShortInt(-3)),
        ("short", AMQPValue::ShortInt(-300)),
        ("unsigned", AMQPValue::LongUInt(4_000_000_000)),
        ("big", AMQPValue::LongLongInt(1 << 40)),
        ("float", AMQPValue::Float(1.5)),
        ("double", AMQPValue::Double(2.5)),
        ("when", AMQPValue::Timestamp(1_709_208_000)),
        ("void", AMQPValue::Void),
        ("list", AMQPValue::FieldArray(list)),
        ("table", AMQPValue::FieldTable(table([("deep", text("er"))]))),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("text", AMQPValue::LongString(LongString::from("gr\u{fc}\u{df}e"))),
    ]);
    for h in [table([("kind", text("b")), ("n", one())]), table([("kind", text("a"))]), sent.clone()] {
        let properties = BasicProperties::default().with_headers(h);
        ch.basic_publish(exchange.as_str().into(), "".into(), BasicPublishOptions::default(), b"h", properties).await?;
    }
    expect(headers_of(&take(&ch, &queue, 1, true).await?[0]), sent, "headers")
}

async fn large_body(env: &Env) -> Outcome {
    let ch = env.channel().await?;
    let queue = env.exclusive(&ch, "large", FieldTable::default()).await?;
    let large: Vec<u8> = (0..5 << 20).map(|i| (i % 251) as u8).collect();
    send(&ch, &queue, &large, BasicProperties::default()).await?;
    expect(take(&ch, &queue, 1, true).await?[0].data == large, true, "5 MiB came back unchanged")
}

type Check = for<'a> fn(&'a Env) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

const CHECKS: [(&str, Check); 12] = [
    ("publish-consume", |e| Box::pin(publish_consume(e))),
    ("confirm", |e| Box::pin(confirm(e))),
    ("return", |e| Box::pin(mandatory_return(e))),
    ("ttl", |e| Box::pin(ttl(e))),
    ("dead-letter", |e| Box::pin(dead_letter(e))),
    ("priority", |e| Box::pin(priority(e))),
    ("reply-to", |e| Box::pin(reply_to(e))),
    ("tx", |e| Box::pin(tx(e))),
    ("errors", |e| Box::pin(errors(e))),
    ("ack", |e| Box::pin(acknowledge(e))),
    ("headers", |e| Box::pin(headers(e))),
    ("large-body", |e| Box::pin(large_body(e))),
];

async fn run(check: Check, url: &str, prefix: &str) -> Outcome {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let env = Env { connection, channels: Mutex::default(), url: url.into(), prefix: prefix.into() };
    tokio::time::timeout(2 * WAIT, check(&env)).await??;
    tokio::time::timeout(WAIT, env.connection.close(200, "bye".into())).await??;
    Ok(())
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut failed = false;
    for (name, check) in CHECKS {
        match run(check, &args[1], &args[2]).await {
            Ok(()) => println!("ok {name}"),
            Err(e) => {
                failed = true;
                println!("FAIL {name}: {e}");
            }
        }
    }
    std::process::exit(failed as i32);
}
