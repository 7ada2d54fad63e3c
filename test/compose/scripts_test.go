package compose_test

import (
	"database/sql"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the databases that the script makes

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// TestKeyIsMadeOnce runs what the container "keys" runs, with another folder for its volume.
func TestKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	keys := all(t)["keys"]
	dir := t.TempDir()
	script := strings.ReplaceAll(keys.Command[0], "/keys/", dir+"/")
	begin := func() string {
		args := append(append([]string{}, keys.Entrypoint[1:]...), script)
		if said, err := exec.CommandContext(t.Context(), keys.Entrypoint[0], args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		key, err := os.ReadFile(filepath.Join(dir, "auth.key"))
		if err != nil {
			t.Fatal(err)
		}
		return string(key)
	}
	key := begin()
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(key) {
		t.Errorf("the key is %q", key)
	}
	if again := begin(); again != key {
		t.Error("the key changed when the suite was started again")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("it left %d files, %v", len(files), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "auth.key")); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("the services could not read it: %v, %v", info.Mode(), err)
	}
}

// TestDatabasesAreMade runs what Postgres runs when its volume is empty, on the real server, with names of its own.
func TestDatabasesAreMade(t *testing.T) {
	t.Parallel()
	admin := servertest.PostgresDSN(t)
	at, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	one, other := servertest.Unique(), servertest.Unique()
	password, _ := at.User.Password()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "deploy/docker/postgres/databases.sh"))
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "PGHOST=" + at.Hostname(), "PGPORT=" + at.Port(), "PGPASSWORD=" + password,
		"POSTGRES_USER=" + at.User.Username(), "POSTGRES_DB=" + strings.TrimPrefix(at.Path, "/"),
		"DATABASES=" + one + " " + other, "DATABASE_PASSWORD=it's \"secret\"",
	}
	t.Cleanup(func() { forget(t, admin, one, other) })
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	at.User = url.UserPassword(one, "it's \"secret\"")
	at.Path = "/" + one
	if err := ask(t, at.String(), "CREATE TABLE of_mine (id int)"); err != nil {
		t.Errorf("a service cannot make tables in its own database: %v", err)
	}
	at.Path = "/" + other
	if err := ask(t, at.String(), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a service may enter the database of another: %v", err)
	}
}

func ask(t *testing.T, dsn, query string) error {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.Exec(query)
	return err
}

func forget(t *testing.T, admin string, names ...string) {
	t.Helper()
	db, err := sql.Open("pgx", admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, name := range names {
		for _, query := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "DROP ROLE IF EXISTS " + name} {
			if _, err := db.Exec(query); err != nil {
				t.Error(err)
			}
		}
	}
}
