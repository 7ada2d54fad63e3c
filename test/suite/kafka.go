package suite

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/test/books"
)

// Kafka is a broker of the test's own, from the jars that `make servers` fetched. It may be killed.
type Kafka struct {
	*Process
	Addr string
}

// quick makes a virtual machine that starts soon and stays small; a test never lives long enough to gain from more.
var quick = []string{"-Xms96m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// StartKafka starts an empty broker.
func StartKafka(tb testing.TB) *Kafka {
	tb.Helper()
	jars, err := filepath.Abs("../../.floodgate/servers/kafka-lib")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(jars, "pom.xml")); err != nil {
		tb.Fatalf("Kafka's jars are not there: run `make servers` first, without KAFKA_BROKERS (%v)", err)
	}
	ports, dir := freePorts(tb, 2), tb.TempDir()
	config := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(config, []byte(brokerConfig(ports[0], ports[1], dir)), 0o600); err != nil {
		tb.Fatal(err)
	}
	id := uuid.New() // may begin with a dash when it is written
	format := exec.CommandContext(tb.Context(), "java", append(slices.Clone(quick), "-cp", jars+"/*", "kafka.tools.StorageTool", "format",
		"--cluster-id="+base64.RawURLEncoding.EncodeToString(id[:]), "-c", config)...)
	if out, err := format.CombinedOutput(); err != nil {
		tb.Fatalf("format Kafka's storage: %v\n%s", err, out)
	}
	k := &Kafka{Addr: "127.0.0.1:" + ports[0], Process: NewProcess(tb, "kafka",
		append(append([]string{"java"}, quick...), "-cp", jars+"/*", "kafka.Kafka", config)...)}
	k.Process.Start()
	k.WaitReady()
	return k
}

func brokerConfig(port, controller, dir string) string {
	return strings.NewReplacer("$port", port, "$controller", controller, "$dir", dir).Replace(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
`)
}

// Start starts the broker again on what its log holds and waits until it answers.
func (k *Kafka) Start() {
	k.tb.Helper()
	k.Process.Start()
	k.WaitReady()
}

// WaitReady returns when the broker answers.
func (k *Kafka) WaitReady() {
	k.tb.Helper()
	WaitFor(k.tb, 60*time.Second, func() error {
		if !k.Alive() {
			return fmt.Errorf("kafka has ended")
		}
		c, err := net.DialTimeout("tcp", k.Addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// DropTopics removes what a prefix names: a shared broker should not remember every test.
func DropTopics(tb testing.TB, brokers []string, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	admin := &kafka.Client{Addr: kafka.TCP(brokers...)}
	meta, err := admin.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		tb.Logf("list the test's topics: %v", err)
		return
	}
	var topics []string
	for _, t := range meta.Topics {
		if strings.HasPrefix(t.Name, prefix) {
			topics = append(topics, t.Name)
		}
	}
	if len(topics) == 0 {
		return
	}
	if _, err := admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: topics}); err != nil {
		tb.Logf("remove the test's topics: %v", err)
	}
}

// Records reads every record of a topic that is there now, partition by partition, as an outsider would.
func (s *Suite) Records(topic string) []kafka.Message {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), 30*time.Second)
	defer cancel()
	ends, err := books.Ends(ctx, s.Stores.Brokers, s.Stores.Prefix+topic)
	if err != nil {
		s.tb.Fatalf("read %s: %v", topic, err)
	}
	var all []kafka.Message
	for partition, end := range ends {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: s.Stores.Brokers, Topic: s.Stores.Prefix + topic, Partition: partition, MaxWait: 100 * time.Millisecond})
		for next := int64(0); next < end; {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				s.tb.Fatalf("read %s/%d at %d: %v", topic, partition, next, err)
			}
			m.Key, m.Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
			all, next = append(all, m), m.Offset+1
		}
		if err := r.Close(); err != nil {
			s.tb.Fatal(err)
		}
	}
	return all
}

// Publish writes records as an outsider would.
func (s *Suite) Publish(topic string, messages ...kafka.Message) {
	s.tb.Helper()
	fresh := &kafka.Transport{} // the shared one has not heard of this suite's topics for some seconds
	defer fresh.CloseIdleConnections()
	w := &kafka.Writer{
		Addr: kafka.TCP(s.Stores.Brokers...), Topic: s.Stores.Prefix + topic, Transport: fresh,
		Balancer: kafka.Murmur2Balancer{Consistent: true}, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond,
	}
	if err := w.WriteMessages(s.tb.Context(), messages...); err != nil {
		s.tb.Fatalf("write to %s: %v", topic, err)
	}
	if err := w.Close(); err != nil {
		s.tb.Fatal(err)
	}
}

// AwaitRecords waits until a topic holds at least n records and returns all it holds.
func (s *Suite) AwaitRecords(topic string, n int) []kafka.Message {
	s.tb.Helper()
	WaitFor(s.tb, 60*time.Second, func() error {
		ends, err := books.Ends(s.tb.Context(), s.Stores.Brokers, s.Stores.Prefix+topic)
		if err != nil {
			return err
		}
		held := int64(0)
		for _, end := range ends {
			held += end
		}
		if held < int64(n) {
			return fmt.Errorf("%s holds %d records, want %d", topic, held, n)
		}
		return nil
	})
	return s.Records(topic)
}

// NoDeadLetters fails the test if any record was given up: an outage is not the record's fault.
func (s *Suite) NoDeadLetters() {
	s.tb.Helper()
	for _, topic := range []string{"dlq-orders-v1", "dlq-raw-errors"} {
		for _, m := range s.Records(topic) {
			s.tb.Errorf("%s holds %q: %v", topic, m.Key, m.Headers)
		}
	}
}
