package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const key = "0123456789abcdef0123456789abcdef"

var shared = Config{Key: key}

func verifier(t *testing.T, cfg Config) *Verifier {
	t.Helper()
	if bad := cfg.Check(); bad != nil {
		t.Fatalf("settings: %q", bad)
	}
	v, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func good() jwt.MapClaims {
	return jwt.MapClaims{"sub": "u-1", "exp": in(time.Hour), "roles": []string{"shop"}}
}

func with(key string, value any) jwt.MapClaims {
	c := good()
	c[key] = value
	if value == nil {
		delete(c, key)
	}
	return c
}

func refused(t *testing.T, v *Verifier, token, reason string) {
	t.Helper()
	caller, err := v.Verify(t.Context(), token)
	var r *Refused
	if !errors.As(err, &r) || !errors.Is(err, ErrUnauthenticated) || !strings.Contains(r.Reason, reason) || caller.Subject != "" {
		t.Errorf("Verify = %v, %v; want it refused with %q", caller, err, reason)
	}
}

func TestSharedKey(t *testing.T) {
	t.Parallel()
	v := verifier(t, shared)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, []byte(key), "", c) }
	t.Run("IsBelieved", func(t *testing.T) {
		t.Parallel()
		caller, err := v.Verify(t.Context(), hs(good()))
		if err != nil || caller.Subject != "u-1" || !caller.Has("shop") || caller.Has("operator") {
			t.Errorf("caller %+v, err %v", caller, err)
		}
	})
	t.Run("OneRoleAsTextIsARole", func(t *testing.T) {
		t.Parallel()
		caller, err := v.Verify(t.Context(), hs(with("roles", "operator")))
		if err != nil || !caller.Has("operator") {
			t.Errorf("caller %+v, err %v", caller, err)
		}
	})
	whole := hs(good())
	parts := strings.Split(whole, ".")
	for name, c := range map[string]struct{ token, reason string }{
		"NoToken":           {"", "required"},
		"NoJWT":             {"x.y", "malformed"},
		"TooLong":           {strings.Repeat("x", longest+1), "too long"},
		"NoAlgorithm":       {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", good()), "signature or algorithm"},
		"NoSignature":       {parts[0] + "." + parts[1] + ".", "signature"},
		"LargerHS":          {sign(t, jwt.SigningMethodHS512, []byte(key), "", good()), "signature or algorithm"},
		"PublicKey":         {sign(t, jwt.SigningMethodRS256, rsaKey, "", good()), "signature or algorithm"},
		"AnotherKey":        {sign(t, jwt.SigningMethodHS256, []byte(strings.ToUpper(key)), "", good()), "signature"},
		"AnotherBody":       {parts[0] + "." + strings.Split(hs(with("sub", "u-2")), ".")[1] + "." + parts[2], "signature"},
		"Expired":           {hs(with("exp", in(-time.Minute))), "expired"},
		"GoodForEver":       {hs(with("exp", nil)), "lacks"},
		"NotYet":            {hs(with("nbf", in(time.Minute))), "not valid yet"},
		"NoSubject":         {hs(with("sub", nil)), "no subject"},
		"SubjectIsNoText":   {hs(with("sub", 7)), "malformed"},
		"ExpiryIsNoNumber":  {hs(with("exp", "tomorrow")), "malformed"},
		"RolesAreNoStrings": {hs(with("roles", []int{1})), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, v, c.token, c.reason)
		})
	}
	t.Run("AClockMayBeALittleOff", func(t *testing.T) {
		t.Parallel()
		if _, err := v.Verify(t.Context(), hs(with("exp", in(-2*time.Second)))); err != nil {
			t.Error(err)
		}
	})
}

func TestIssuerAndAudienceAreChecked(t *testing.T) {
	t.Parallel()
	cfg := Config{Key: key, Issuer: "https://issuer", Audience: "floodgate"}
	v := verifier(t, cfg)
	own, err := Issue(cfg, "u-1", []string{"shop"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), own); err != nil {
		t.Errorf("its own token: %v", err)
	}
	for _, c := range []struct{ issuer, audience, reason string }{
		{"https://other", "floodgate", "issuer"},
		{"https://issuer", "other", "somebody else"},
		{"", "", "lacks"},
	} {
		token, err := Issue(Config{Key: key, Issuer: c.issuer, Audience: c.audience}, "u-1", nil, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, v, token, c.reason)
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	for name, issue := range map[string]func() (string, error){
		"NoKey":     func() (string, error) { return Issue(Config{JWKSFile: "x"}, "u-1", nil, time.Hour) },
		"NoSubject": func() (string, error) { return Issue(shared, "", nil, time.Hour) },
		"NoTime":    func() (string, error) { return Issue(shared, "u-1", nil, 0) },
	} {
		if token, err := issue(); err == nil || token != "" {
			t.Errorf("%s: token %q, err %v", name, token, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		want int
	}{
		"Nothing":  {Config{}, 1},
		"Two":      {Config{Key: key, JWKSURL: "https://issuer/keys"}, 1},
		"Short":    {Config{Key: "short"}, 1},
		"NoURL":    {Config{JWKSURL: "issuer"}, 1},
		"NoFile":   {Config{JWKSFile: "/no/such"}, 1},
		"AllWrong": {Config{Key: "short", JWKSURL: "issuer", JWKSFile: "/no/such"}, 4},
		"Fine":     {Config{JWKSURL: "http://issuer/keys"}, 0},
	} {
		bad := c.cfg.Check()
		if len(bad) != c.want || strings.Contains(fmt.Sprint(bad), "short ") {
			t.Errorf("%s: complaints = %q, want %d", name, bad, c.want)
		}
	}
}

// signer is an issuer's key pair.
type signer struct {
	kid     string
	method  jwt.SigningMethod
	private crypto.Signer
}

func signers(t *testing.T) []signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []signer{{"r", jwt.SigningMethodRS256, r}, {"e", jwt.SigningMethodES256, e}, {"d", jwt.SigningMethodEdDSA, d}}
}

func (s signer) token(t *testing.T) string { return sign(t, s.method, s.private, s.kid, good()) }

// published are the public halves as the issuer shows them.
func published(t *testing.T, all ...signer) []byte {
	t.Helper()
	var set jwkset.JWKSMarshal
	for _, s := range all {
		jwk, err := jwkset.NewJWKFromKey(s.private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: s.kid}})
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestKeysInAFile(t *testing.T) {
	t.Parallel()
	all := signers(t)
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(published(t, all[:2]...))
	v := verifier(t, Config{JWKSFile: path})
	for _, s := range all[:2] {
		if caller, err := v.Verify(t.Context(), s.token(t)); err != nil || !slices.Equal(caller.Roles, []string{"shop"}) {
			t.Errorf("%s: caller %+v, err %v", s.kid, caller, err)
		}
	}
	refused(t, v, all[2].token(t), "key is unknown")
	stranger := signers(t)[0]
	refused(t, v, stranger.token(t), "signature")
	// A public key is no secret: whoever signs with it as if it were a shared one is a stranger.
	refused(t, v, sign(t, jwt.SigningMethodHS256, published(t, all[0]), "r", good()), "signature or algorithm")

	write(published(t, all[1:]...)) // the first is revoked, the third is new
	eventually(t, func() error {
		_, err := v.Verify(t.Context(), all[2].token(t))
		return err
	})
	refused(t, v, all[0].token(t), "key is unknown")

	write([]byte(`{"keys":[`)) // half-written: what is known stays known
	began := time.Now()
	eventually(t, func() error {
		if _, err := v.Verify(t.Context(), all[2].token(t)); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) < look+look/2 {
			return errors.New("not looked again yet")
		}
		return nil
	})
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestFileWithoutKeysIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", `{"keys":[]}`, "keys"} {
		path := filepath.Join(t.TempDir(), "jwks.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), Config{JWKSFile: path}); err == nil {
			t.Errorf("%q was taken for keys", text)
		}
	}
}

func TestKeysBehindAURL(t *testing.T) {
	t.Parallel()
	all := signers(t)
	away := make(chan bool, 1)
	away <- true
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		isAway := <-away
		away <- isAway
		if isAway {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(published(t, all[0]))
	}))
	defer issuer.Close()
	v := verifier(t, Config{JWKSURL: issuer.URL})

	if _, err := v.Verify(t.Context(), all[0].token(t)); !errors.Is(err, ErrKeysAway) || errors.Is(err, ErrUnauthenticated) {
		t.Errorf("err = %v: a token is not bad because its issuer is away", err)
	}
	refused(t, v, sign(t, jwt.SigningMethodHS256, []byte(key), "r", good()), "algorithm")

	<-away
	away <- false
	back := verifier(t, Config{JWKSURL: issuer.URL})
	if caller, err := back.Verify(t.Context(), all[0].token(t)); err != nil || caller.Subject != "u-1" {
		t.Errorf("caller %+v, err %v", caller, err)
	}
	refused(t, back, all[1].token(t), "key is unknown")
}

func FuzzVerify(f *testing.F) {
	token, err := Issue(shared, "u-1", []string{"shop"}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	v, err := New(f.Context(), shared)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		caller, err := v.Verify(t.Context(), text)
		// Base64 without padding has spare bits: the same bytes may be spelled twice.
		if err == nil && (caller.Subject != "u-1" || len(text) != len(token)) {
			t.Errorf("%q was taken for a token of %+v", text, caller)
		}
		if err != nil && !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("err = %v", err)
		}
	})
}

func ExampleIssue() {
	cfg := Config{Key: "a key of at least thirty-two bytes"}
	token, _ := Issue(cfg, "u-1", []string{"shop"}, time.Hour)
	fmt.Println(strings.Count(token, "."))
	// Output: 2
}

// A token is verified once, and never believed for longer than it lasts or than its key does.
func TestVerifiedTokensAreRemembered(t *testing.T) {
	t.Parallel()
	v := verifier(t, shared)
	asked := 0
	find := v.keys
	v.keys = func(ctx context.Context, token *jwt.Token) (any, error) { asked++; return find(ctx, token) }

	token := sign(t, jwt.SigningMethodHS256, []byte(key), "", good())
	for range 3 {
		caller, err := v.Verify(t.Context(), token)
		if err != nil || caller.Subject != "u-1" || !caller.Has("shop") {
			t.Fatalf("Verify = %v, %v", caller, err)
		}
	}
	if asked != 1 {
		t.Errorf("its signature was verified %d times, want once", asked)
	}
	refused(t, v, token[:len(token)-2]+"xx", "signature") // a token that differs is another token

	brief := sign(t, jwt.SigningMethodHS256, []byte(key), "", with("exp", in(-8*time.Second))) // good by the leeway only
	for range 2 {
		if _, err := v.Verify(t.Context(), brief); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 4 {
		t.Errorf("a token past its end was remembered: verified %d times in all, want 4", asked)
	}
	<-time.After(2500 * time.Millisecond)
	refused(t, v, brief, "expired")
}

func BenchmarkVerify(b *testing.B) {
	v, err := New(b.Context(), shared)
	if err != nil {
		b.Fatal(err)
	}
	token, err := Issue(shared, "u-1", []string{"shop"}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	for name, forget := range map[string]bool{"Remembered": false, "Anew": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if forget {
					v.known.InvalidateAll()
				}
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
