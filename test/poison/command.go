package poison

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/test/books"
)

// Main is the command: it poisons the running suite and prints what to look at. Its status is 1 when there is nothing to
// look at.
func Main(ctx context.Context, args, environ []string, out, complaints io.Writer) int {
	flags := flag.NewFlagSet("poison", flag.ContinueOnError)
	flags.SetOutput(complaints)
	root := flags.String("state", ".floodgate", "the folder of the suite's state")
	if err := flags.Parse(args); err != nil {
		return 1
	}
	report, err := Put(ctx, *root, environ)
	if err == nil {
		_, err = fmt.Fprint(out, report)
	}
	if err != nil {
		_, _ = fmt.Fprintln(complaints, "poison:", err) // there is nobody else to tell
		return 1
	}
	return 0
}

// settings are dlq-replayer's own, as its command line and its door read them.
type settings struct {
	URL   string        `mapstructure:"url"`
	Token config.Secret `mapstructure:"token"`
	Auth  auth.Config   `mapstructure:",squash"`
}

// open finds dlq-replayer's door and an operator's token for it. Without one in the environment it is made with the key
// that signs the suite's tokens.
func open(root string, suite books.Stores, environ []string) (door, error) {
	s, _, err := config.Load("dlq-replayer", "", environ, settings{URL: cmp.Or(suite.Replayer, "http://127.0.0.1:8085")}, nil)
	if err != nil {
		return door{}, err
	}
	d := door{base: strings.TrimSuffix(s.URL, "/"), token: s.Token.Reveal()}
	if d.token != "" {
		return d, nil
	}
	if s.Auth.Key.Reveal() == "" {
		key, err := os.ReadFile(filepath.Join(root, "auth.key"))
		if errors.Is(err, fs.ErrNotExist) {
			return door{}, errors.New("the key of the suite's tokens is not in the state folder: put an operator's token into DLQ_REPLAYER_TOKEN")
		}
		if err != nil {
			return door{}, err
		}
		s.Auth.Key = config.Secret(strings.TrimSpace(string(key)))
	}
	d.token, err = auth.Issue(s.Auth, source, []string{"operator"}, time.Hour)
	return d, err
}
