package servertest

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PostgresProcess is a Postgres cluster of the test's own, to be stopped and killed as it likes.
type PostgresProcess struct {
	DSN string // of an empty database
	Dir string

	bin     string
	who     *syscall.Credential // nil for ourselves
	process process
}

// PostgresServer makes a cluster and starts it on a free loopback port. It ends with the test. Postgres refuses root,
// so root runs it as the user of the package.
func PostgresServer(tb testing.TB) *PostgresProcess {
	tb.Helper()
	port := FreePort(tb)
	p := &PostgresProcess{
		bin: postgresBin(tb),
		who: postgresUser(tb),
		DSN: fmt.Sprintf("postgres://floodgate@127.0.0.1:%d/postgres?sslmode=disable", port),
	}
	p.makeDir(tb)
	p.run(tb, "initdb", "-D", p.Dir, "-U", "floodgate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	p.process = process{
		tb: tb, name: "postgres", addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		command: func() *exec.Cmd {
			return p.command("postgres", "-D", p.Dir, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1",
				"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "synchronous_commit=on")
		},
	}
	tb.Cleanup(func() {
		if err := p.end(syscall.SIGQUIT); err != nil {
			tb.Error(err)
		}
	})
	p.Start()
	return p
}

// Start starts it again, with the data it had, and waits until it takes queries: recovery may come first.
func (p *PostgresProcess) Start() {
	p.process.tb.Helper()
	p.process.start()
	db, err := sql.Open("pgx", p.DSN)
	if err != nil {
		p.process.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p.process.await("take queries", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return db.PingContext(ctx) == nil
	})
}

// Stop ends it in good order, though clients are connected.
func (p *PostgresProcess) Stop() {
	p.process.tb.Helper()
	if err := p.end(syscall.SIGINT); err != nil {
		p.process.tb.Fatal(err)
	}
}

// Kill ends the postmaster by kill -9 and waits until its children noticed: until then they hold the cluster.
func (p *PostgresProcess) Kill() {
	p.process.tb.Helper()
	if err := p.end(syscall.SIGKILL); err != nil {
		p.process.tb.Fatal(err)
	}
}

func (p *PostgresProcess) end(sig syscall.Signal) error {
	if p.process.cmd == nil {
		return nil
	}
	orphans := children(p.process.cmd.Process.Pid)
	if err := p.process.end(sig); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); slices.ContainsFunc(orphans, alive); {
		if time.Now().After(deadline) {
			return fmt.Errorf("postgres left processes behind: %v", orphans)
		}
		<-time.After(10 * time.Millisecond)
	}
	return nil
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// children are the processes whose parent is pid.
func children(pid int) []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path) //nolint:gosec // from /proc
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state parent …, and a name may have spaces.
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, child)
		}
	}
	return found
}

func (p *PostgresProcess) command(name string, args ...string) *exec.Cmd {
	// No context of the test: killed by one, Postgres would leave its children behind.
	cmd := exec.CommandContext(context.Background(), filepath.Join(p.bin, name), args...) //nolint:gosec // what the test starts
	cmd.Dir = "/"
	if p.who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.who}
	}
	return cmd
}

func (p *PostgresProcess) run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := p.command(name, args...).CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// makeDir makes the cluster's folder. tb.TempDir lies in folders that the other user may not enter.
func (p *PostgresProcess) makeDir(tb testing.TB) {
	tb.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "floodgate-test-postgres-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if p.who != nil {
		if err := os.Chown(dir, int(p.who.Uid), int(p.who.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	p.Dir = dir
}

func postgresBin(tb testing.TB) string {
	tb.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if len(dirs) == 0 {
		tb.Fatal("Postgres is not installed: run `make servers` first")
	}
	return dirs[len(dirs)-1]
}

func postgresUser(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		tb.Fatalf("root needs the user postgres to run Postgres: %v", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
