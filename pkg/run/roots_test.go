package run

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestAuthoritiesAreKnownWithoutASystem looks, in a process that finds no certificates on the machine, whom it believes.
func TestAuthoritiesAreKnownWithoutASystem(t *testing.T) {
	t.Parallel()
	if os.Getenv("FLOODGATE_TEST_BARE") == "" { //nolint:forbidigo // tells this process from the one it starts
		bare := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		bare.Env = []string{"FLOODGATE_TEST_BARE=1", "SSL_CERT_FILE=/no/such/file", "SSL_CERT_DIR=/no/such/folder"}
		if said, err := bare.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if pool.Equal(x509.NewCertPool()) {
		t.Error("an image would believe nobody: no identity provider, broker or database could be reached by TLS")
	}
}
