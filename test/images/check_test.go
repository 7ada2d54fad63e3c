//go:build images

package images_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// These are the tests of `make images-check`: they look into the images that `make images` built and run the suite from them.

// built says what images.sh did last: with which tool, and the image of each service.
func built(t *testing.T) (tool string, images map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "bin/images/built"))
	if err != nil {
		t.Fatalf("there are no images: run make images-check (%v)", err)
	}
	images = map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			t.Fatalf("bin/images/built: %q", line)
		}
		tool, images[words[1]] = words[0], words[2]
	}
	if !slices.Equal(slices.Sorted(maps.Keys(images)), slices.Sorted(slices.Values(suite.Services))) {
		t.Fatalf("images of %v, want those of %v", slices.Sorted(maps.Keys(images)), suite.Services)
	}
	if tool == "buildah" {
		t.Fatal("buildah builds but runs nothing: install podman or docker")
	}
	return tool, images
}

// with runs the tool and returns what it printed.
func with(t *testing.T, tool string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool, args...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			out = failed.Stderr
		}
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// inspected is what both tools say of an image.
type inspected struct {
	RootFS struct{ Layers []string }
	Config struct {
		User        string
		Env         []string
		Entrypoint  []string
		Cmd         []string
		Labels      map[string]string
		Healthcheck *struct{ Test []string }
	}
	Healthcheck *struct{ Test []string } // where podman puts it
}

func inspect(t *testing.T, tool, image string) inspected {
	t.Helper()
	var all []inspected
	if err := json.Unmarshal([]byte(with(t, tool, "image", "inspect", image)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect %s: %d images, %v", image, len(all), err)
	}
	if all[0].Config.Healthcheck == nil {
		all[0].Config.Healthcheck = all[0].Healthcheck
	}
	return all[0]
}

func TestAnImageHoldsOneFile(t *testing.T) {
	t.Parallel()
	tool, images := built(t)
	for service, image := range images {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			container := with(t, tool, "create", "--no-healthcheck", image)
			t.Cleanup(func() { afterwards(t, tool, "rm", container) })
			if got, want := files(t, tool, container), []string{service}; !slices.Equal(got, want) {
				t.Errorf("it holds %q, want %q", got, want)
			}
			about := inspect(t, tool, image)
			for what, is := range map[string]bool{
				"its user is not 65532:65532":      about.Config.User == "65532:65532",
				"it does not start its service":    slices.Equal(about.Config.Entrypoint, []string{"/" + service}) && len(about.Config.Cmd) == 0,
				"it is not checked by itself":      about.Config.Healthcheck != nil && slices.Equal(about.Config.Healthcheck.Test, []string{"CMD", "/" + service, "health"}),
				"it listens to itself only":        slices.Contains(about.Config.Env, "FLOODGATE_LISTEN_HOST=0.0.0.0"),
				"its version is not what it is of": strings.HasSuffix(image, ":"+about.Config.Labels["org.opencontainers.image.version"]),
			} {
				if !is {
					t.Errorf("%s: %+v", what, about.Config)
				}
			}
		})
	}
}

// afterwards is with for the end of a test, whose context is over by then.
func afterwards(t *testing.T, tool string, args ...string) {
	t.Helper()
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
}

// files lists what is in a container that has not run; empty files are the places where the runtime mounts its own.
func files(t *testing.T, tool, container string) (all []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool, "export", container)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(out); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg && header.Size > 0 {
			all = append(all, header.Name)
			if header.Mode&0o022 != 0 || header.Mode&0o111 != 0o111 {
				t.Errorf("%s has the mode %o", header.Name, header.Mode)
			}
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestImagesAreTheSameTwice builds all images once more, in a folder that no git knows, and compiles one service without
// anything that was compiled before.
func TestImagesAreTheSameTwice(t *testing.T) {
	tool, images := built(t)
	_, version, _ := strings.Cut(filepath.Base(images["points"]), ":")
	tools, err := filepath.Glob(filepath.Join(root(t), "bin/tools/cyclonedx-gomod-*/cyclonedx-gomod"))
	if err != nil || len(tools) == 0 {
		t.Fatalf("cyclonedx-gomod is not built: %v", err)
	}
	there := elsewhere(t)
	again := exec.CommandContext(t.Context(), filepath.Join(there, "deploy/docker/images.sh"), version, tools[0])
	again.Env = append(os.Environ(), "REGISTRY=localhost/floodgate-again", "IMAGE_TOOL="+tool,
		"SOURCE_DATE_EPOCH="+with(t, "git", "-C", root(t), "log", "-1", "--format=%ct"))
	if said, err := again.CombinedOutput(); err != nil {
		t.Fatalf("images.sh: %v\n%s", err, said)
	}
	for service, image := range images {
		name := "localhost/floodgate-again/" + service + ":" + version
		// Not the id: podman notes the random names of the containers that it built in.
		was, is := inspect(t, tool, image).RootFS.Layers, inspect(t, tool, name).RootFS.Layers
		if len(was) == 0 || !slices.Equal(was, is) {
			t.Errorf("%s has the layers %s when it is built again, had %s", service, is, was)
		}
		for _, file := range []string{service, service + ".cdx.json"} {
			_, was := read(t, filepath.Join(root(t), "bin/images", file))
			if _, is := read(t, filepath.Join(there, "bin/images", file)); was != is {
				t.Errorf("%s has the sha256 %s when it is made again, had %s", file, is, was)
			}
		}
		with(t, tool, "rmi", name)
	}
	t.Setenv("GOCACHE", t.TempDir())
	_, one := read(t, filepath.Join(there, "bin/images/points"))
	if _, other := read(t, compile(t, there, version, "points")); one != other {
		t.Errorf("compiled anew points has the sha256 %s, had %s", other, one)
	}
}

// TestEveryBillIsTrue compares the bill of each image with what the linker wrote into its binary.
func TestEveryBillIsTrue(t *testing.T) {
	t.Parallel()
	_, images := built(t)
	for service := range images {
		billIsTrue(t, filepath.Join(root(t), "bin/images", service))
	}
}

// contained is how a part of the suite is run from its image: closed, as docker-compose.yml has it, but on this machine's network.
func contained(t *testing.T, tool string, images map[string]string) func(p *suite.Part) []string {
	return func(p *suite.Part) []string {
		name := "floodgate-check-" + p.Name
		argv := []string{
			tool, "run", "--rm", "--name", name, "--network=host", "--read-only", "--cap-drop=all",
			"--security-opt=no-new-privileges", "--no-healthcheck", "--pull=never",
		}
		if tool == "podman" {
			// No writable /tmp of podman's own making, and limits that may be given where podman is in a container itself.
			argv = append(argv, "--read-only-tmpfs=false", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
		}
		for _, setting := range p.Env {
			variable, _, _ := strings.Cut(setting, "=")
			argv = append(argv, "--env", variable) // its value comes from the tool's own environment
		}
		t.Cleanup(func() { _ = exec.Command(tool, "rm", "-f", name).Run() }) // gone already where it ended as told
		return append(argv, images[p.Service])
	}
}

var errNotYet = errors.New("not yet")

// TestTheSuiteRunsFromImages sells something, follows it to every service, counts the books, and stops everything as a
// platform does.
func TestTheSuiteRunsFromImages(t *testing.T) {
	t.Parallel()
	tool, images := built(t)
	s := suite.Start(t, suite.Config{Command: contained(t, tool, images)})
	s.Sell("tea", 100)
	buyer := s.As(0, "u-1")
	placed := buyer.Must(t, http.StatusCreated, http.MethodPost, "/orders", map[string]any{"skuId": "tea", "quantity": 3, "payment": "captured"}).Order(t)
	suite.WaitFor(t, 30*time.Second, func() error {
		for path, want := range map[string]string{
			"/orders/" + placed.ID: `"status":"paid"`, "/orders/" + placed.ID + "/shipment": placed.ID, "/me/points": `"balance":13`,
		} {
			if a, err := buyer.Do(t.Context(), http.MethodGet, path, nil); err != nil || !strings.Contains(string(a.Body), want) {
				return fmt.Errorf("GET %s: %v, want %s; %w", path, a, want, errors.Join(err, errNotYet))
			}
		}
		return nil
	})
	s.Balance()
	for _, p := range s.All() {
		looksAfterItself(t, tool, p)
	}
	token := with(t, tool, "exec", "floodgate-check-order-api-0", "/order-api", "token", "--user", "u-1")
	if a, err := (suite.Client{Base: buyer.Base, Token: token}).Do(t.Context(), http.MethodGet, "/orders/"+placed.ID, nil); err != nil || a.Status != http.StatusOK {
		t.Errorf("with a token that order-api made: %v, %v", a, err)
	}
	for _, p := range slices.Backward(s.All()) {
		if code := p.Terminate(); code != 0 {
			t.Errorf("%s ended with %d when it was told to stop", p.Name, code)
		}
	}
}

var status = regexp.MustCompile(`(?m)^(Uid|Gid|CapEff|NoNewPrivs):\s+(\S+)`)

// looksAfterItself asks the health check, and the system what the process may do.
func looksAfterItself(t *testing.T, tool string, p *suite.Part) {
	t.Helper()
	name := "floodgate-check-" + p.Name
	if said := with(t, tool, "exec", name, "/"+p.Service, "health"); said != "ready" {
		t.Errorf("%s says of its health: %q", p.Name, said)
	}
	text, err := os.ReadFile("/proc/" + with(t, tool, "inspect", "--format", "{{.State.Pid}}", name) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, line := range status.FindAllStringSubmatch(string(text), -1) {
		got[line[1]] = line[2]
	}
	want := map[string]string{"Uid": "65532", "Gid": "65532", "CapEff": "0000000000000000", "NoNewPrivs": "1"}
	if !maps.Equal(got, want) {
		t.Errorf("%s runs with %v, want %v", p.Name, got, want)
	}
}
