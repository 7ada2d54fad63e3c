// Package compose_test judges docker-compose.yml as docker compose itself reads it: that every container is closed, waited for
// and pinned, and that every setting is one its service knows.
package compose_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the checkout.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// load reads the project as `docker compose --profile …` does, with the committed .env and nothing of this machine.
func load(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root(t), "docker-compose.yml")},
		cli.WithWorkingDirectory(root(t)), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker compose would refuse the file: %v", err)
	}
	return project
}

// all is every container of every profile.
func all(t *testing.T) types.Services {
	t.Helper()
	services := load(t, "*").Services
	if len(services) < 9 {
		t.Fatalf("read %d containers: the file cannot be understood", len(services))
	}
	return services
}

// TestComposeItselfTakesTheFile has what docker compose is made of read it, plain and with every profile. Where docker has the plugin,
// `docker compose config` judges it too. Elsewhere the parser stands in for it: it is the same one, so nothing is skipped there.
func TestComposeItselfTakesTheFile(t *testing.T) {
	t.Parallel()
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() == nil {
		t.Run("docker compose config", func(t *testing.T) {
			t.Parallel()
			for _, profile := range [][]string{nil, {"--profile", "observe"}} {
				args := slices.Concat([]string{"compose", "--file", "docker-compose.yml"}, profile, []string{"config", "--quiet"})
				cmd := exec.CommandContext(t.Context(), "docker", args...)
				cmd.Dir = root(t)
				if said, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("docker %s: %v\n%s", strings.Join(args, " "), err, said)
				}
			}
		})
	}
	if name := load(t).Name; name != "floodgate" {
		t.Errorf("the project is called %q", name)
	}
	load(t, "*")
}

var (
	ours     = []string{"dlq-replayer", "inventory", "logistics", "order-api", "points"}
	servers  = []string{"kafka", "postgres", "redis"}
	observe  = []string{"alertmanager", "grafana", "jaeger", "otel-collector", "prometheus"}
	onceOnly = []string{"keys"} // does its work and ends
	// noShell has nothing within that could ask it how it is, and nobody waits for it.
	noShell = []string{"otel-collector"}
)

func TestPlainUpIsSmall(t *testing.T) {
	t.Parallel()
	small := slices.Sorted(slices.Values(slices.Concat(ours, servers, onceOnly)))
	if got := slices.Sorted(maps.Keys(load(t).Services)); !slices.Equal(got, small) {
		t.Errorf("docker compose up starts %q, want %q", got, small)
	}
	whole := slices.Sorted(slices.Values(slices.Concat(small, observe)))
	if got := slices.Sorted(maps.Keys(load(t, "observe").Services)); !slices.Equal(got, whole) {
		t.Errorf("with --profile observe it starts %q, want %q", got, whole)
	}
	if got := slices.Sorted(maps.Keys(all(t))); !slices.Equal(got, whole) {
		t.Errorf("another profile starts more: %q", got)
	}
}

var (
	pinned  = regexp.MustCompile(`^[a-z0-9.-]+\.[a-z]+/[a-z0-9/.-]+:v?\d+\.\d+(\.\d+)?$`)
	numeric = regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`)
)

func TestEveryContainerIsClosed(t *testing.T) {
	t.Parallel()
	for name, c := range all(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			switch {
			case slices.Contains(ours, name):
				if c.Image != "localhost/floodgate/"+name+":dev" {
					t.Errorf("its image is %s", c.Image)
				}
			case !pinned.MatchString(c.Image):
				t.Errorf("its image is %s: name the registry and a version", c.Image)
			}
			alone := slices.Contains(onceOnly, name) && c.NetworkMode == "none"
			if !numeric.MatchString(c.User) && !alone {
				t.Errorf("its user is %q: name one by number, not root", c.User)
			}
			if slices.Contains(ours, name) && c.User != "65532:65532" {
				t.Errorf("its user is %s, not that of the image", c.User)
			}
			if !c.ReadOnly {
				t.Error("it may write to its own files")
			}
			if !slices.Equal(c.CapDrop, []string{"ALL"}) || len(c.CapAdd) > 0 || c.Privileged || len(c.Devices) > 0 {
				t.Errorf("it has rights of root: drops %q, adds %q, privileged %v", c.CapDrop, c.CapAdd, c.Privileged)
			}
			if !slices.Equal(c.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("it may gain rights: %q", c.SecurityOpt)
			}
			if c.NetworkMode == "host" || c.Pid != "" || c.Ipc != "" {
				t.Errorf("it shares with the machine: network %q, pid %q, ipc %q", c.NetworkMode, c.Pid, c.Ipc)
			}
			if c.Restart == "" {
				t.Error("nobody said whether it starts again")
			}
			for _, p := range c.Ports {
				if p.HostIP != "127.0.0.1" {
					t.Errorf("port %s is open to the network, at %q", p.Published, p.HostIP)
				}
			}
		})
	}
}

// TestWhatIsMountedIsThere finds every file and folder that containers read, and sees that they only read.
func TestWhatIsMountedIsThere(t *testing.T) {
	t.Parallel()
	project := load(t, "*")
	binds := 0
	for name, c := range project.Services {
		for _, v := range c.Volumes {
			switch v.Type {
			case types.VolumeTypeBind:
				binds++
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts %s: %v", name, v.Source, err)
				}
				if !v.ReadOnly {
					t.Errorf("%s may write to %s", name, v.Source)
				}
			case types.VolumeTypeVolume:
				if _, declared := project.Volumes[v.Source]; !declared {
					t.Errorf("%s mounts the volume %q, which nobody declared: it would be lost", name, v.Source)
				}
			default:
				t.Errorf("%s mounts a %s at %s", name, v.Type, v.Target)
			}
		}
	}
	if binds == 0 {
		t.Error("nothing of the checkout is mounted: the file cannot be understood")
	}
}

// TestStartIsGated sees that each is waited for as it can be, and that nobody of ours starts before what it needs.
func TestStartIsGated(t *testing.T) {
	t.Parallel()
	services := all(t)
	for name, c := range services {
		once := c.Restart == "no"
		if once != slices.Contains(onceOnly, name) {
			t.Errorf("%s: restart is %q", name, c.Restart)
		}
		checked := c.HealthCheck != nil && !c.HealthCheck.Disable && len(c.HealthCheck.Test) > 1
		if !checked && !once && !slices.Contains(noShell, name) {
			t.Errorf("%s has no health check", name)
		}
		for other, dependency := range c.DependsOn {
			want := types.ServiceConditionHealthy
			if slices.Contains(onceOnly, other) {
				want = types.ServiceConditionCompletedSuccessfully
			}
			if dependency.Condition != want || slices.Contains(noShell, other) {
				t.Errorf("%s waits for %s to be %s, want %s", name, other, dependency.Condition, want)
			}
		}
	}
	for name, needs := range map[string][]string{
		"order-api": {"kafka", "keys", "postgres", "redis"}, "dlq-replayer": {"kafka", "keys", "postgres"},
		"inventory": {"kafka", "postgres"}, "points": {"kafka", "postgres"}, "logistics": {"kafka", "postgres"},
	} {
		if got := slices.Sorted(maps.Keys(services[name].DependsOn)); !slices.Equal(got, needs) {
			t.Errorf("%s waits for %q, want %q", name, got, needs)
		}
	}
}

var (
	filledIn = regexp.MustCompile(`\$\{([A-Z_]+)`)
	given    = regexp.MustCompile(`(?m)^#?([A-Z_]+)=`)
)

// TestEnvIsWhatIsFilledIn compares the names in .env with those that the file asks for.
func TestEnvIsWhatIsFilledIn(t *testing.T) {
	t.Parallel()
	names := func(found [][]string) []string {
		set := map[string]bool{}
		for _, one := range found {
			set[one[1]] = true
		}
		return slices.Sorted(maps.Keys(set))
	}
	want := names(filledIn.FindAllStringSubmatch(read(t, "docker-compose.yml"), -1))
	if got := names(given.FindAllStringSubmatch(read(t, ".env"), -1)); !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf(".env names %q; docker-compose.yml asks for %q", got, want)
	}
}

// TestKafkaIsTheOneThatIsTested compares the broker with that of `make servers`, and its settings with what they must be.
func TestKafkaIsTheOneThatIsTested(t *testing.T) {
	t.Parallel()
	kafka := all(t)["kafka"]
	_, version, _ := strings.Cut(kafka.Image, ":")
	if !strings.Contains(read(t, "deploy/servers/kafka/pom.xml"), ">"+version+"<") {
		t.Errorf("its image is %s; deploy/servers/kafka/pom.xml names another version", kafka.Image)
	}
	for setting, want := range map[string]string{
		"KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
		"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
	} {
		if got := kafka.Environment[setting]; got == nil || *got != want {
			t.Errorf("%s is not %s", setting, want)
		}
	}
}
