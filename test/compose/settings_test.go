package compose_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/run"
	dlqreplayer "github.com/floodgate-dev/floodgate/services/dlq-replayer"
	"github.com/floodgate-dev/floodgate/services/inventory"
	"github.com/floodgate-dev/floodgate/services/logistics"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
	"github.com/floodgate-dev/floodgate/services/points"
)

// settings are what a service of ours would work with in its container, and what it would say of them.
type settings struct {
	doors    run.Config
	database database.Config
	kafka    kafka.Config
	said     []string
	origins  []string // where values came from: names of the environment, among others
}

// service is one of ours: how it reads its settings, and its command line.
type service struct {
	read    func(environ []string) settings
	command func() *cobra.Command
}

func reader[C any](name string, defaults C, check func(C) []string, parts func(C) settings) func([]string) settings {
	return func(environ []string) settings {
		c, report, err := config.Load(name, "", environ, defaults, check)
		s := parts(c)
		s.said = report.Warnings
		for _, setting := range report.Settings {
			s.origins = append(s.origins, setting.Origin)
		}
		if err != nil {
			s.said = append(s.said, err.Error())
		}
		return s
	}
}

var services = map[string]service{
	"order-api": {reader("order-api", orderapi.Defaults(), orderapi.Config.Check, func(c orderapi.Config) settings {
		return settings{doors: c.Run, database: c.Database, kafka: c.Kafka}
	}), orderapi.Command},
	"inventory": {reader("inventory", inventory.Defaults(), inventory.Config.Check, func(c inventory.Config) settings {
		return settings{doors: c.Run, database: c.Database, kafka: c.Kafka}
	}), inventory.Command},
	"points": {reader("points", points.Defaults(), points.Config.Check, func(c points.Config) settings {
		return settings{doors: c.Run, database: c.Database, kafka: c.Kafka}
	}), points.Command},
	"logistics": {reader("logistics", logistics.Defaults(), logistics.Config.Check, func(c logistics.Config) settings {
		return settings{doors: c.Run, database: c.Database, kafka: c.Kafka}
	}), logistics.Command},
	"dlq-replayer": {reader("dlq-replayer", dlqreplayer.Defaults(), dlqreplayer.Config.Check, func(c dlqreplayer.Config) settings {
		return settings{doors: c.Run, database: c.Database, kafka: c.Kafka}
	}), dlqreplayer.Command},
}

// inContainer is the environment of c as its service finds it: what the image sets, what compose sets, and the files of the
// volume "keys" in a folder of this machine.
func inContainer(t *testing.T, c types.ServiceConfig) []string {
	t.Helper()
	keys := t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "auth.key"), []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	mounted := slices.ContainsFunc(c.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Source == "keys" && v.Target == "/keys" && v.ReadOnly
	})
	environ := []string{"FLOODGATE_LISTEN_HOST=0.0.0.0"}
	for name, value := range c.Environment {
		if value == nil {
			t.Errorf("%s is taken from whoever runs compose", name)
			continue
		}
		if rest, isKey := strings.CutPrefix(*value, "/keys/"); isKey && mounted {
			*value = filepath.Join(keys, rest)
		}
		environ = append(environ, name+"="+*value)
	}
	return environ
}

// TestSettingsAreKnown has each service read its settings as it would in its container: one that it does not know, or that
// cannot work, is a defect of the file.
func TestSettingsAreKnown(t *testing.T) {
	t.Parallel()
	containers := all(t)
	databases := strings.Fields(*containers["postgres"].Environment["DATABASES"])
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := containers[name]
			got := s.read(inContainer(t, c))
			for _, complaint := range got.said {
				t.Error(complaint)
			}
			dsn, err := url.Parse(got.database.DSN.Reveal())
			own := strings.ReplaceAll(name, "-", "_")
			if err != nil || dsn.Host != "postgres:5432" || dsn.Path != "/"+own || dsn.User.Username() != own || !slices.Contains(databases, own) {
				t.Errorf("its database is not its own: %v", err)
			}
			if !slices.Equal(got.kafka.Brokers, []string{"kafka:9092"}) || got.kafka.Replication != 1 {
				t.Errorf("Kafka: %q, replication %d", got.kafka.Brokers, got.kafka.Replication)
			}
			for _, p := range c.Ports {
				if int(p.Target) != got.doors.Port && int(p.Target) != got.doors.OpsPort {
					t.Errorf("port %d is published, but its doors are %d and %d", p.Target, got.doors.Port, got.doors.OpsPort)
				}
			}
			if needs := got.doors.DrainDelay + run.NewGroup(t.Context()).Grace; c.StopGracePeriod == nil || time.Duration(*c.StopGracePeriod) <= needs {
				t.Errorf("it is killed after %v; it may need %s to drain", c.StopGracePeriod, needs)
			}
			asked := []string{"CMD", "/" + name, "health"}
			if !slices.Equal(c.HealthCheck.Test, asked) {
				t.Errorf("its health check is %q, want %q", c.HealthCheck.Test, asked)
			}
			if word, _, err := s.command().Find([]string{"health"}); err != nil || word.Name() != "health" {
				t.Errorf("its command line has no word health: %v", err)
			}
		})
	}
}

// TestAddressesAreOfTheSuite sees that what a service of ours is told to call is there and listens at that door.
func TestAddressesAreOfTheSuite(t *testing.T) {
	t.Parallel()
	containers := all(t)
	asked := 0
	for setting, value := range containers["order-api"].Environment {
		peer, isAddr := strings.CutSuffix(strings.TrimPrefix(setting, "ORDER_API_"), "_ADDR")
		if !isAddr {
			continue
		}
		asked++
		name := strings.ToLower(peer)
		s, known := services[name]
		if !known {
			t.Errorf("%s names a service that is not there", setting)
			continue
		}
		if want := fmt.Sprintf("%s:%d", name, s.read(inContainer(t, containers[name])).doors.Port); *value != want {
			t.Errorf("%s is %s, want %s", setting, *value, want)
		}
	}
	if asked != 3 {
		t.Errorf("order-api is told %d addresses, want 3", asked)
	}
}

// TestTheDockerfileKnowsTheDoors compares each image's stage with its service: the ports, the health check, the place.
func TestTheDockerfileKnowsTheDoors(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy/docker/Dockerfile")
	containers := all(t)
	if !strings.Contains(text, "\nENV PATH=/ FLOODGATE_LISTEN_HOST=0.0.0.0\n") || !strings.Contains(text, "\nUSER 65532:65532\n") {
		t.Error("what all images share is not what these tests take it for")
	}
	for _, name := range ours {
		_, stage, found := strings.Cut(text, "FROM service AS "+name+"\n")
		stage, _, _ = strings.Cut(stage, "\nFROM ")
		if !found {
			t.Errorf("there is no stage %s", name)
			continue
		}
		doors := services[name].read(nil).doors
		for _, line := range []string{
			fmt.Sprintf("EXPOSE %d %d", doors.Port, doors.OpsPort),
			fmt.Sprintf("COPY --from=build /%[1]s /%[1]s", name),
			fmt.Sprintf(`CMD ["/%s", "health"]`, name),
			fmt.Sprintf(`ENTRYPOINT ["/%s"]`, name),
			fmt.Sprintf(`org.opencontainers.image.description="%s"`, services[name].command().Short),
		} {
			if !strings.Contains(stage, line) {
				t.Errorf("the stage %s lacks: %s", name, line)
			}
		}
		if b := containers[name].Build; b == nil || b.Target != name || b.Dockerfile != "deploy/docker/Dockerfile" || b.Context != root(t) {
			t.Errorf("%s is built from %+v", name, b)
		}
	}
}
