// Package auth tells who is calling, by a signed token, and makes such tokens where the key is shared.
//
// It promises that only the configured kind of key is believed, whatever a token says about itself, that no token is
// good for ever, and that keys which cannot be fetched are never taken for a bad token.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/floodgate-dev/floodgate/pkg/config"
)

const (
	leastKey = 32               // bytes of a shared key: as many as the signature has
	longest  = 8 << 10          // bytes of a token
	leeway   = 10 * time.Second // between our clock and the issuer's

	remembered = 10_000               // tokens, at some 300 bytes each
	forever    = 365 * 24 * time.Hour // for a shared key: it changes with the process
)

// Config says whose tokens are believed: those of one shared key, or those of an issuer whose public keys stand behind
// a URL or in a file.
type Config struct {
	Key      config.Secret `mapstructure:"auth_key"`
	JWKSURL  string        `mapstructure:"auth_jwks_url"`
	JWKSFile string        `mapstructure:"auth_jwks_file"`
	Issuer   string        `mapstructure:"auth_issuer"`
	Audience string        `mapstructure:"auth_audience"`
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	sources := 0
	for _, s := range []string{c.Key.Reveal(), c.JWKSURL, c.JWKSFile} {
		if s != "" {
			sources++
		}
	}
	if sources != 1 {
		bad = append(bad, "set exactly one of auth_key, auth_jwks_url and auth_jwks_file: it says whose tokens are believed")
	}
	if n := len(c.Key.Reveal()); n > 0 && n < leastKey {
		bad = append(bad, fmt.Sprintf("auth_key has %d bytes: at least %d are needed (openssl rand -hex 32 makes one)", n, leastKey))
	}
	if u, err := url.Parse(c.JWKSURL); c.JWKSURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		bad = append(bad, "auth_jwks_url must be an address such as https://issuer.example/.well-known/jwks.json")
	}
	if _, err := os.Stat(c.JWKSFile); c.JWKSFile != "" && err != nil {
		bad = append(bad, fmt.Sprintf("auth_jwks_file names %s, which cannot be read", c.JWKSFile))
	}
	return bad
}

// Caller is who a verified token speaks for.
type Caller struct {
	Subject string
	Roles   []string
}

// Has tells whether the caller was given role.
func (c Caller) Has(role string) bool { return slices.Contains(c.Roles, role) }

var (
	// ErrUnauthenticated is what every refused token's error is.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrKeysAway says that the issuer's keys could not be fetched, so that nothing is known about the token.
	ErrKeysAway = errors.New("the keys of the token's issuer cannot be fetched")
)

// Refused is why a token was refused, in words fit for the caller's WWW-Authenticate header. It is an ErrUnauthenticated.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return "unauthenticated: " + r.Reason }

// Is makes errors.Is(err, ErrUnauthenticated) true.
func (r *Refused) Is(target error) bool { return target == ErrUnauthenticated }

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims

	Roles jwt.ClaimStrings `json:"roles,omitempty"`
}

// Verifier believes the tokens of one kind of key.
type Verifier struct {
	parser *jwt.Parser
	keys   keys

	believe time.Duration // how long a verified token needs no second look
	known   *otter.Cache[[sha256.Size]byte, believed]
}

// believed is a token that was verified, kept under its hash until it expires or its key may have been taken back.
type believed struct {
	Caller
	until time.Time
}

// keys finds the key that a token says it was signed with, or returns ErrKeysAway.
type keys func(ctx context.Context, token *jwt.Token) (any, error)

// New prepares a verifier; keys that are fetched are kept fresh until ctx ends. An issuer that is away now is asked
// again when a token comes.
func New(ctx context.Context, cfg Config) (*Verifier, error) {
	find, algorithms, believe, err := source(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	// The algorithms are ours, never the token's: a public key must not be taken for a shared one, nor "none" for any.
	options := []jwt.ParserOption{jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return &Verifier{parser: jwt.NewParser(options...), keys: find, believe: believe, known: otter.Must(&otter.Options[[sha256.Size]byte, believed]{
		MaximumSize: remembered, // and no expiry: it takes a goroutine, and Verify looks at the time anyway
	})}, nil
}

// source is where keys come from, which algorithms are theirs, and how long a token that one of them signed may be
// believed without looking again: no longer than a key that is taken back.
func source(ctx context.Context, cfg Config) (find keys, algorithms []string, believe time.Duration, err error) {
	public := []string{"RS256", "ES256", "EdDSA"}
	switch {
	case cfg.JWKSURL != "":
		find, err := fetched(ctx, cfg.JWKSURL)
		return find, public, refresh, err
	case cfg.JWKSFile != "":
		find, err := fromFile(cfg.JWKSFile)
		return find, public, look, err
	case len(cfg.Key.Reveal()) < leastKey:
		return nil, nil, 0, fmt.Errorf("auth_key is shorter than %d bytes", leastKey)
	}
	key := []byte(cfg.Key.Reveal())
	return func(context.Context, *jwt.Token) (any, error) { return key, nil }, []string{"HS256"}, forever, nil
}

// Verify tells who token speaks for. The error is a *Refused, or ErrKeysAway when nothing can be said about the token.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	if token == "" {
		return Caller{}, &Refused{"a bearer token is required"}
	}
	if len(token) > longest {
		return Caller{}, &Refused{"the token is too long"}
	}
	hash := sha256.Sum256([]byte(token))
	if b, ok := v.known.GetIfPresent(hash); ok && time.Now().Before(b.until) {
		return b.Caller, nil
	}
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return v.keys(ctx, t) })
	switch {
	case errors.Is(err, ErrKeysAway):
		return Caller{}, err
	case err != nil:
		return Caller{}, &Refused{reason(err)}
	case c.Subject == "":
		return Caller{}, &Refused{"the token names no subject"}
	}
	b := believed{Caller{Subject: c.Subject, Roles: c.Roles}, time.Now().Add(v.believe)}
	if expires := c.ExpiresAt.Time; expires.Before(b.until) { // the parser refuses a token without it
		b.until = expires
	}
	v.known.Set(hash, b)
	return b.Caller, nil
}

// reason tells a caller what to mend, and an attacker nothing more than that.
func reason(err error) string {
	for _, r := range []struct {
		is   error
		says string
	}{
		{jwt.ErrTokenMalformed, "the token is malformed"},
		{jwt.ErrTokenUnverifiable, "the token's key is unknown"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature or algorithm is not accepted"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a required claim (exp, and iss or aud where they are checked)"},
		{jwt.ErrTokenInvalidIssuer, "the token's issuer is not accepted"},
		{jwt.ErrTokenInvalidAudience, "the token is meant for somebody else"},
	} {
		if errors.Is(err, r.is) {
			return r.says
		}
	}
	return "the token is not accepted"
}

// Issue makes a token for subject with the shared key, good for ttl.
func Issue(cfg Config, subject string, roles []string, ttl time.Duration) (string, error) {
	switch {
	case len(cfg.Key.Reveal()) < leastKey:
		return "", errors.New("issue a token: it takes a shared auth_key; with public keys their issuer makes the tokens")
	case subject == "":
		return "", errors.New("issue a token: whose? the subject is empty")
	case ttl <= 0:
		return "", fmt.Errorf("issue a token: it would have expired already (ttl %s)", ttl)
	}
	now := time.Now()
	c := claims{Roles: roles, RegisteredClaims: jwt.RegisteredClaims{
		Subject:   subject,
		Issuer:    cfg.Issuer,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}}
	if cfg.Audience != "" {
		c.Audience = jwt.ClaimStrings{cfg.Audience}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(cfg.Key.Reveal()))
	if err != nil {
		return "", fmt.Errorf("issue a token: %w", err)
	}
	return token, nil
}
