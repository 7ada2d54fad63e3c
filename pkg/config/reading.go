package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// shared begins the environment's names of settings for every service.
const shared = "FLOODGATE_"

// prefix begins the environment's names of settings for one service.
func prefix(service string) string {
	return strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_"
}

// Name is what key is called in the environment for service alone.
func Name(service, key string) string { return prefix(service) + strings.ToUpper(key) }

// reading is one Load under way.
type reading struct {
	service    string
	file       string
	fields     []field
	viper      *viper.Viper
	origins    map[string]string
	complaints []string
	warnings   []string
}

func newReading(service, file string, target reflect.Value) *reading {
	r := &reading{service: service, file: file, fields: fields(target), viper: viper.New(), origins: map[string]string{}}
	for _, f := range r.fields {
		if r.origins[f.key] != "" {
			panic("config: two fields of " + target.Type().String() + " are called " + f.key)
		}
		r.viper.SetDefault(f.key, f.value.Interface())
		r.origins[f.key] = "default"
	}
	return r
}

func (r *reading) complain(format string, args ...any) {
	r.complaints = append(r.complaints, fmt.Sprintf(format, args...))
}

func (r *reading) readFile() {
	if r.file == "" {
		return
	}
	r.viper.SetConfigFile(r.file)
	if err := r.viper.ReadInConfig(); err != nil {
		r.complain("%s", unreadable(r.file, err))
		return
	}
	known := slices.Collect(maps.Keys(r.origins))
	for _, key := range slices.Sorted(slices.Values(r.viper.AllKeys())) {
		if _, ok := r.origins[key]; !ok {
			r.complain("%s is not a setting of %s (in %s); the nearest is %s", key, r.service, r.file, nearest(key, known))
		} else if r.viper.InConfig(key) && r.viper.Get(key) != nil {
			r.origins[key] = r.file
		}
	}
}

// atLine finds the place in a parser's complaint.
var atLine = regexp.MustCompile(`line \d+`)

// unreadable says why a settings file cannot be used. A parser's own words are kept out: they may quote a secret.
func unreadable(file string, err error) string {
	var unknown viper.UnsupportedConfigError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "--config " + file + ": there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "--config " + file + ": it may not be read"
	case errors.As(err, &unknown):
		return "--config " + file + ": its name must end in .yaml, .toml or .json"
	}
	return strings.TrimSpace("--config " + file + ": it is not well-formed " + atLine.FindString(err.Error()))
}

func (r *reading) readEnvironment(environ []string) {
	env := map[string]string{}
	for _, pair := range environ {
		// An empty variable is how compose files and charts say "not set".
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			env[name] = value
		}
	}
	known := map[string]bool{}
	for _, f := range r.fields {
		if f.also != "" {
			r.readVariable(f, f.also, env, known)
		}
		for _, begin := range []string{shared, prefix(r.service)} { // the later wins
			r.readVariable(f, begin+strings.ToUpper(f.key), env, known)
		}
	}
	r.warn(env, known)
}

// readVariable takes the field from the variable name, or a secret from the file that name_FILE names.
func (r *reading) readVariable(f field, name string, env map[string]string, known map[string]bool) {
	known[name] = true
	value, set := env[name]
	if set && f.key == "port" && strings.Contains(value, "://") {
		r.warnings = append(r.warnings, name+" looks like a Kubernetes service link and is not taken for a port")
		return
	}
	if f.secret() {
		known[name+"_FILE"] = true
		if path, ok := env[name+"_FILE"]; ok {
			if set {
				r.complain("%s and %s_FILE are both set: keep one", name, name)
				return
			}
			name, set = name+"_FILE", true
			value = r.readSecret(name, path)
		}
	}
	if set {
		r.viper.Set(f.key, value)
		r.origins[f.key] = name
	}
}

func (r *reading) readSecret(name, path string) string {
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		r.complain("%s names %s, which cannot be read", name, path)
	}
	return strings.TrimRight(string(b), "\r\n")
}

// warn names what looks like a setting and is none. It is no error: Kubernetes adds variables of its own.
func (r *reading) warn(env map[string]string, known map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		for _, begin := range []string{shared, prefix(r.service)} {
			if !strings.HasPrefix(name, begin) || known[name] {
				continue
			}
			like := slices.DeleteFunc(slices.Collect(maps.Keys(known)), func(k string) bool { return !strings.HasPrefix(k, begin) })
			r.warnings = append(r.warnings, fmt.Sprintf("%s is not a setting of %s; the nearest is %s", name, r.service, nearest(name, like)))
		}
	}
}

// apply moves what was read into the struct.
func (r *reading) apply() {
	for _, f := range r.fields {
		origin := r.origins[f.key]
		if origin == "default" {
			continue
		}
		into := reflect.New(f.value.Type())
		err := r.viper.UnmarshalKey(f.key, into.Interface(), func(c *mapstructure.DecoderConfig) {
			c.DecodeHook = mapstructure.DecodeHookFuncType(strictly)
			c.WeaklyTypedInput = false
		})
		switch {
		case err == nil:
			f.value.Set(into.Elem())
		case f.secret():
			r.complain("%s must be %s (%s)", f.key, f.wants(), origin)
		default:
			r.complain("%s must be %s, not %q (%s)", f.key, f.wants(), fmt.Sprint(r.viper.Get(f.key)), origin)
		}
	}
}

func (r *reading) report() Report {
	rep := Report{Warnings: r.warnings}
	for _, f := range r.fields {
		rep.Settings = append(rep.Settings, Setting{Key: f.key, Value: f.show(), Origin: r.origins[f.key]})
	}
	return rep
}

// nearest is the known name that takes the fewest changes to become name.
func nearest(name string, known []string) string {
	slices.Sort(known)
	return slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
}
