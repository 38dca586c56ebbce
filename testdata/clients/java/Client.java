import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The Java client of RabbitMQ. Usage: java Client URL PREFIX */
public class Client {
  static final long WAIT = 15; // seconds until a message counts as lost
  static ConnectionFactory factory = new ConnectionFactory();
  static String prefix;

  interface Check {
    void run(Connection connection) throws Exception;
  }

  static void expect(Object got, Object want, String what) {
    if (!Objects.deepEquals(got, want)) {
      throw new AssertionError(what + ": got " + got + ", want " + want);
    }
  }

  static String exclusive(Channel ch, String name, Map<String, Object> arguments) throws IOException {
    return ch.queueDeclare(prefix + "." + name, false, true, false, arguments).getQueue();
  }

  static void send(Channel ch, String queue, String body, BasicProperties properties) throws IOException {
    ch.basicPublish("", queue, properties, body.getBytes("UTF-8"));
  }

  static List<Delivery> take(Channel ch, String queue, int n, boolean autoAck) throws Exception {
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    String tag = ch.basicConsume(queue, autoAck, (t, delivery) -> inbox.add(delivery), t -> {});
    List<Delivery> got = new ArrayList<>();
    while (got.size() < n) {
      Delivery d = inbox.poll(WAIT, TimeUnit.SECONDS);
      if (d == null) {
        throw new AssertionError(got.size() + " of " + n + " messages came");
      }
      got.add(d);
    }
    ch.basicCancel(tag);
    return got;
  }

  static Delivery takeOne(Channel ch, String queue) throws Exception {
    return take(ch, queue, 1, true).get(0);
  }

  static String text(byte[] body) {
    return new String(body);
  }

  @SuppressWarnings("unchecked")
  static Map<String, Object> firstDeath(Delivery d) {
    return ((List<Map<String, Object>>) d.getProperties().getHeaders().get("x-death")).get(0);
  }

  static void publishConsume(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String queue = exclusive(ch, "publish", null);
    for (int i = 0; i < 200; i++) {
      send(ch, queue, "m" + i, new BasicProperties.Builder().contentType("text/plain").contentEncoding("utf-8")
          .correlationId("" + i).messageId("id" + i).type("greeting").appId("interop").userId("guest")
          .timestamp(new Date(1700000000000L)).priority(3).deliveryMode(2).build());
    }
    List<Delivery> got = take(ch, queue, 200, true);
    for (int i = 0; i < 200; i++) {
      expect(text(got.get(i).getBody()), "m" + i, "body in order");
    }
    BasicProperties p = got.get(7).getProperties();
    expect(Arrays.asList(p.getContentType(), p.getContentEncoding(), p.getCorrelationId(), p.getMessageId(), p.getType(),
            p.getAppId(), p.getUserId(), p.getTimestamp(), p.getPriority(), p.getDeliveryMode()),
        Arrays.asList("text/plain", "utf-8", "7", "id7", "greeting", "interop", "guest", new Date(1700000000000L), 3, 2),
        "properties");
  }

  static void confirm(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String queue = prefix + ".confirm";
    ch.queueDeclare(queue, true, false, false, null);
    ch.confirmSelect();
    ConcurrentSkipListSet<Long> outstanding = new ConcurrentSkipListSet<>();
    ch.addConfirmListener((tag, multiple) -> {
      if (multiple) {
        outstanding.headSet(tag, true).clear();
      } else {
        outstanding.remove(tag);
      }
    }, (tag, multiple) -> {
      throw new AssertionError("nack of " + tag);
    });
    BasicProperties persistent = new BasicProperties.Builder().deliveryMode(2).build();
    for (int i = 0; i < 500; i++) {
      outstanding.add(ch.getNextPublishSeqNo());
      ch.basicPublish("", queue, persistent, new byte[100]);
    }
    ch.waitForConfirmsOrDie(WAIT * 1000);
    expect(outstanding.isEmpty(), true, "confirms");
    expect(ch.messageCount(queue), 500L, "message count");
    expect(ch.queuePurge(queue).getMessageCount(), 500, "purged");
    ch.queueDelete(queue);
  }

  static void mandatoryReturn(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    BlockingQueue<List<Object>> events = new LinkedBlockingQueue<>();
    ch.confirmSelect();
    ch.addReturnListener(r -> events.add(Arrays.asList(
        r.getReplyCode(), r.getReplyText(), r.getExchange(), r.getRoutingKey(), text(r.getBody()))));
    ch.addConfirmListener((tag, multiple) -> events.add(Arrays.asList("ack", tag)), (tag, multiple) -> {});
    ch.basicPublish("amq.direct", prefix + ".nowhere", true, null, "lost".getBytes());
    expect(events.poll(WAIT, TimeUnit.SECONDS),
        Arrays.asList(312, "NO_ROUTE", "amq.direct", prefix + ".nowhere", "lost"), "basic.return");
    expect(events.poll(WAIT, TimeUnit.SECONDS), Arrays.asList("ack", 1L), "confirm after it");
  }

  static void ttl(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String dead = exclusive(ch, "ttl.dead", null);
    Map<String, Object> toDead = new HashMap<>(Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
    String byMessage = exclusive(ch, "ttl.message", toDead);
    toDead.put("x-message-ttl", 40);
    String byQueue = exclusive(ch, "ttl.queue", toDead);
    send(ch, byQueue, "1", null);
    expect(firstDeath(takeOne(ch, dead)).get("reason").toString(), "expired", "reason");
    send(ch, byMessage, "2", new BasicProperties.Builder().expiration("40").build());
    Delivery d = takeOne(ch, dead);
    expect(d.getProperties().getExpiration(), null, "expiration after dead-lettering");
    expect(firstDeath(d).get("original-expiration").toString(), "40", "original-expiration");
  }

  static void deadLetter(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String dlx = prefix + ".dlx";
    ch.exchangeDeclare(dlx, BuiltinExchangeType.FANOUT, false, true, null);
    String dead = exclusive(ch, "dlx.dead", null);
    ch.queueBind(dead, dlx, "");
    String work = exclusive(ch, "dlx.work", Map.of("x-dead-letter-exchange", dlx, "x-max-length", 2));
    for (String body : new String[] {"a", "b", "c"}) { // a leaves by x-max-length
      send(ch, work, body, null);
    }
    Delivery d = takeOne(ch, dead);
    expect(text(d.getBody()) + " " + firstDeath(d).get("reason"), "a maxlen", "overflow");
    ch.basicReject(ch.basicGet(work, false).getEnvelope().getDeliveryTag(), false);
    d = takeOne(ch, dead);
    Map<String, Object> death = firstDeath(d);
    expect(death.remove("time") instanceof Date, true, "time is a timestamp");
    expect(text(d.getBody()), "b", "rejected body");
    expect(plain(death), Map.of("count", 1L, "reason", "rejected", "queue", work, "exchange", "", "routing-keys", List.of(work)),
        "x-death");
    expect(d.getProperties().getHeaders().get("x-first-death-queue").toString(), work, "x-first-death-queue");
  }

  static void priority(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String queue = exclusive(ch, "priority", Map.of("x-max-priority", 10));
    for (int p : new int[] {1, 9, 5, 9}) {
      send(ch, queue, "" + p, new BasicProperties.Builder().priority(p).build());
    }
    StringBuilder order = new StringBuilder();
    for (int i = 0; i < 4; i++) {
      order.append(text(ch.basicGet(queue, true).getBody()));
    }
    expect(order.toString(), "9951", "order");
  }

  static void replyTo(Connection connection) throws Exception {
    Channel server = connection.createChannel();
    String queue = exclusive(server, "rpc", null);
    server.basicConsume(queue, true, (tag, d) -> {
      String replyTo = d.getProperties().getReplyTo();
      BasicProperties p = new BasicProperties.Builder().correlationId(d.getProperties().getCorrelationId()).build();
      send(server, replyTo, (replyTo.startsWith("amq.rabbitmq.reply-to.") ? "re:" : replyTo) + text(d.getBody()), p);
    }, tag -> {});
    try (Connection other = factory.newConnection()) {
      RpcClient client = new RpcClient(new RpcClientParams().channel(other.createChannel()).exchange("").routingKey(queue)
          .replyTo("amq.rabbitmq.reply-to").timeout((int) WAIT * 1000)); // which is RpcClient's default
      for (int i = 0; i < 5; i++) {
        expect(client.stringCall("" + i), "re:" + i, "reply");
      }
    }
  }

  static void tx(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String queue = exclusive(ch, "tx", null);
    ch.txSelect();
    send(ch, queue, "kept", null);
    expect(ch.basicGet(queue, true), null, "get before commit");
    ch.txCommit();
    send(ch, queue, "dropped", null);
    ch.txRollback();
    GetResponse got = ch.basicGet(queue, false);
    expect(text(got.getBody()) + got.getMessageCount(), "kept0", "after rollback");
    ch.basicAck(got.getEnvelope().getDeliveryTag(), false);
    ch.txCommit();
  }

  static AMQP.Channel.Close refused(Callable<?> call) throws Exception {
    try {
      call.call();
    } catch (IOException e) {
      return (AMQP.Channel.Close) ((ShutdownSignalException) e.getCause()).getReason();
    }
    throw new AssertionError("no error came");
  }

  static void errors(Connection connection) throws Exception {
    Channel first = connection.createChannel();
    String missing = prefix + ".missing";
    AMQP.Channel.Close close = refused(() -> first.queueDeclarePassive(missing));
    expect(close.getReplyCode() + " " + close.getReplyText(), "404 NOT_FOUND - no queue '" + missing + "' in vhost '/'",
        "passive declare");
    expect(close.getClassId() * 1000 + close.getMethodId(), 50010, "class and method");
    try {
      first.basicGet(missing, true);
      throw new AssertionError("the channel is still open");
    } catch (AlreadyClosedException e) {
      Channel ch = connection.createChannel();
      String queue = exclusive(ch, "errors", Map.of("x-max-length", 5));
      close = refused(() -> exclusive(connection.createChannel(), "errors", Map.of("x-max-length", 6)));
      expect(close.getReplyCode() + " " + close.getReplyText(), "406 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '"
          + queue + "' in vhost '/': received '6' but current is '5'", "redeclare");
      send(ch, queue, "alive", null);
      expect(text(takeOne(ch, queue).getBody()), "alive", "after the errors");
    }
  }

  static void acknowledge(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    ch.basicQos(4);
    String queue = exclusive(ch, "ack", null);
    for (int i = 1; i <= 4; i++) {
      send(ch, queue, "" + i, null);
    }
    List<Delivery> first = take(ch, queue, 4, false);
    ch.basicAck(first.get(0).getEnvelope().getDeliveryTag(), false);
    ch.basicNack(first.get(2).getEnvelope().getDeliveryTag(), true, true); // 2 and 3
    ch.basicReject(first.get(3).getEnvelope().getDeliveryTag(), true);
    StringBuilder again = new StringBuilder();
    List<Delivery> second = take(ch, queue, 3, false);
    for (Delivery d : second) {
      again.append(text(d.getBody())).append(d.getEnvelope().isRedeliver() ? "r " : " ");
    }
    expect(again.toString(), "2r 3r 4r ", "redelivery");
    ch.basicRecover(true);
    second = take(ch, queue, 3, false);
    ch.basicAck(second.get(2).getEnvelope().getDeliveryTag(), true);
    expect(ch.queueDelete(queue).getMessageCount(), 0, "left");
  }

  /** plain replaces the client's LongString by String, all the way down. */
  static Object plain(Object value) {
    if (value instanceof Map) {
      Map<Object, Object> m = new LinkedHashMap<>();
      ((Map<?, ?>) value).forEach((k, v) -> m.put(k, plain(v)));
      return m;
    }
    if (value instanceof List) {
      List<Object> l = new ArrayList<>();
      ((List<?>) value).forEach(v -> l.add(plain(v)));
      return l;
    }
    return value instanceof LongString ? value.toString() : value;
  }

  static void headers(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String exchange = prefix + ".headers";
    ch.exchangeDeclare(exchange, BuiltinExchangeType.HEADERS, false, true, null);
    String queue = exclusive(ch, "headers", null);
    ch.queueBind(queue, exchange, "", Map.of("x-match", "all", "kind", "a", "n", 1));
    Map<String, Object> sent = new LinkedHashMap<>();
    sent.put("kind", "a");
    sent.put("n", 1);
    sent.put("byte", (byte) -3);
    sent.put("short", (short) -300);
    sent.put("long", 1L << 40);
    sent.put("float", 1.5f);
    sent.put("double", 2.5);
    sent.put("yes", true);
    sent.put("void", null);
    sent.put("when", new Date(1709208000000L));
    sent.put("decimal", new BigDecimal("12.34"));
    sent.put("list", Arrays.asList(1, "two", Map.of("three", 3)));
    sent.put("table", Map.of("deep", Map.of("deeper", "x")));
    sent.put("text", "gr\u00fc\u00dfe");
    for (Map<String, Object> h : List.of(Map.<String, Object>of("kind", "b", "n", 1), Map.<String, Object>of("kind", "a"),
        Map.<String, Object>of("kind", "a", "n", "1"), sent)) {
      ch.basicPublish(exchange, "", new BasicProperties.Builder().headers(h).build(), new byte[0]);
    }
    expect(plain(takeOne(ch, queue).getProperties().getHeaders()), sent, "headers");
  }

  static void largeBody(Connection connection) throws Exception {
    Channel ch = connection.createChannel();
    String queue = exclusive(ch, "large", null);
    byte[] body = new byte[5 << 20];
    for (int i = 0; i < body.length; i++) {
      body[i] = (byte) (i % 251);
    }
    ch.basicPublish("", queue, null, body);
    expect(Arrays.equals(takeOne(ch, queue).getBody(), body), true, "5 MiB came back unchanged");
  }

  public static void main(String[] args) throws Exception {
    factory.setUri(args[0]);
    prefix = args[1];
    Map<String, Check> checks = new LinkedHashMap<>();
    checks.put("publish-consume", Client::publishConsume);
    checks.put("confirm", Client::confirm);
    checks.put("return", Client::mandatoryReturn);
    checks.put("ttl", Client::ttl);
    checks.put("dead-letter", Client::deadLetter);
    checks.put("priority", Client::priority);
    checks.put("reply-to", Client::replyTo);
    checks.put("tx", Client::tx);
    checks.put("errors", Client::errors);
    checks.put("ack", Client::acknowledge);
    checks.put("headers", Client::headers);
    checks.put("large-body", Client::largeBody);

    int failed = 0;
    for (Map.Entry<String, Check> c : checks.entrySet()) {
      try (Connection connection = factory.newConnection("interop-java")) {
        c.getValue().run(connection);
        System.out.println("ok " + c.getKey());
      } catch (Throwable e) {
        failed = 1;
        e.printStackTrace();
        System.out.println("FAIL " + c.getKey() + ": " + e);
      }
    }
    System.exit(failed);
  }
}
