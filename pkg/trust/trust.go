// Package trust makes the TLS settings of a client from files: whom it believes, and as whom it shows itself.
//
// It promises that a file which cannot be used is named together with the setting that named it, and that who overlooks
// the error connects to nobody rather than in the clear.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Files are the PEM files of one client. Each may be empty: without CA the system's authorities are believed, without
// Cert the client shows no certificate.
type Files struct {
	CA, Cert, Key string
}

// Check says what is wrong with f, all at once; nil when nothing is. The settings are called prefix_ca_file,
// prefix_cert_file and prefix_key_file; on says whether TLS is wanted at all, by the setting switchedBy.
func (f Files) Check(on bool, prefix, switchedBy string) []string {
	var bad []string
	if (f.Cert == "") != (f.Key == "") {
		bad = append(bad, fmt.Sprintf("%[1]s_cert_file and %[1]s_key_file go together", prefix))
	}
	if !on && f != (Files{}) {
		bad = append(bad, fmt.Sprintf("%[1]s_ca_file and %[1]s_cert_file need %[2]s", prefix, switchedBy))
	}
	if on {
		if _, err := f.Client(prefix); err != nil {
			bad = append(bad, err.Error())
		}
	}
	return bad
}

// Client reads the files. An error names the setting, with prefix as in Check, and comes with settings that believe nobody.
func (f Files) Client(prefix string) (*tls.Config, error) {
	out, err := f.read(prefix)
	if err != nil {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}, err
	}
	return out, nil
}

func (f Files) read(prefix string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("%s_ca_file: %w", prefix, err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s_ca_file: %s holds no certificate", prefix, f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("%s_cert_file: %w", prefix, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
