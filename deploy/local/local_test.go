package local

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestTheKeyIsMadeOnceAndIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, err := openState(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	first, err := s.key()
	if err != nil || len(first) != 64 {
		t.Fatalf("key() = %q, %v, want 64 characters", first, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if again, err := s.key(); err != nil || again != first {
				t.Errorf("key() again = %q, %v, want %q", again, err, first)
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(filepath.Join(root, "auth.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v, want mode 0600", info.Mode(), err)
	}
}

func TestAKeyThatIsThereIsKept(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "auth.key"), []byte("made by make up\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openState(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	if key, err := s.key(); err != nil || key != "made by make up" {
		t.Errorf("key() = %q, %v", key, err)
	}
}

func TestASecondSuiteOnOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first, err := openState(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openState(root); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("a second suite: %v, want a sentence that one runs already", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openState(root)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	_ = again.close()
}

func TestATakenPortIsNamedWithTheSettingThatMovesIt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	err = checkDoors(t.Context(), []door{{"127.0.0.1:0", "A_PORT"}, {l.Addr().String(), "ORDER_API_PORT"}})
	if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), "ORDER_API_PORT") || strings.Contains(err.Error(), "\n") {
		t.Errorf("checkDoors = %v, want one sentence with %s and ORDER_API_PORT", err, port)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = checkDoors(t.Context(), []door{{"127.0.0.1:" + port, "A_PORT"}, {"127.0.0.1:" + port, "B_PORT"}})
	if err == nil || !strings.Contains(err.Error(), "A_PORT") || !strings.Contains(err.Error(), "B_PORT") {
		t.Errorf("one port for two doors: %v, want both settings named", err)
	}
}

func TestTheEnvironmentChoosesBehaviourButNoServers(t *testing.T) {
	t.Parallel()
	s := newSettings([]string{
		"ORDER_API_PORT=8090", "ORDER_API_TRUST_CAPTURED=off", "FLOODGATE_LOG_LEVEL=", "POINTS_KAFKA_BROKERS=elsewhere:9092",
		"FLOODGATE_DATABASE_DSN=postgres://elsewhere/x", "ORDER_API_REDIS_PASSWORD=x", "FLOODGATE_KAFKA_TLS_CA=x", "FLOODGATE_KAFKA_TOPIC_PREFIX=p.",
	})
	st, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.close() }()
	s.embed(st, "key")
	s.at("127.0.0.1:1", "127.0.0.1:2")
	for name, want := range map[string]string{
		"ORDER_API_PORT": "8090", "ORDER_API_TRUST_CAPTURED": "off", "FLOODGATE_LOG_LEVEL": "warn", "FLOODGATE_AUTH_KEY": "key",
		"FLOODGATE_KAFKA_BROKERS": "127.0.0.1:1", "ORDER_API_REDIS_ADDRS": "127.0.0.1:2", "FLOODGATE_KAFKA_TOPIC_PREFIX": "p.",
		"POINTS_DATABASE_DSN": "sqlite:" + st.path("points.db"),
	} {
		if s[name] != want {
			t.Errorf("%s = %q, want %q", name, s[name], want)
		}
	}
	for _, name := range []string{"POINTS_KAFKA_BROKERS", "FLOODGATE_DATABASE_DSN", "ORDER_API_REDIS_PASSWORD", "FLOODGATE_KAFKA_TLS_CA"} {
		if value, set := s[name]; set {
			t.Errorf("%s = %q reached the embedded suite", name, value)
		}
	}
}

func TestDemoIsOnUnlessItIsOff(t *testing.T) {
	t.Parallel()
	if !demo(nil) || !demo([]string{"DEMO="}) || !demo([]string{"DEMO=on"}) || demo([]string{"DEMO=off"}) {
		t.Error("DEMO=off, and nothing else, places no order")
	}
}
