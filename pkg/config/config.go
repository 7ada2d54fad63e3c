// Package config reads a service's settings once: defaults, then a file, then the environment, which wins.
//
// It promises that every key is known, that everything wrong is said at once, that the origin of every value can be
// told, and that no secret is printed on the way.
package config

import (
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Report is what the settings ended up as and where each came from.
type Report struct {
	Settings []Setting
	// Warnings are sentences about names in the environment that look like settings of this service and are none.
	Warnings []string
}

// Setting is one effective value; a secret shows as stars.
type Setting struct {
	Key    string
	Value  string
	Origin string // "default", the file's path, or the environment's name
}

// String is the report as a table for people.
func (r Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "KEY\tVALUE\tFROM")
	for _, s := range r.Settings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Value, s.Origin)
	}
	_ = w.Flush()
	return b.String()
}

// Error is everything that is wrong with the settings of a service, at once.
type Error struct {
	Service    string
	Complaints []string
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot work with these settings:\n", e.Service)
	for _, c := range e.Complaints {
		fmt.Fprintf(&b, "  - %s\n", c)
	}
	fmt.Fprintf(&b, "A key is set in the file of --config, or in the environment as %s<KEY>, or as %s<KEY> for all services.",
		prefix(e.Service), shared)
	return b.String()
}

// ExitCode is what a process that was told this ends with.
func (e *Error) ExitCode() int { return 2 }

// Load reads the settings of service into a copy of defaults: from file, unless it is "", then from environ (os.Environ),
// which wins. The keys are the mapstructure tags of C, squashed parts included; fields without one are not settings.
// A field may have a standard's name in the environment too, in the tag env; ours win over it.
// check may be nil; it says what is wrong with the whole. The error is an *Error; the Report is filled in any case.
func Load[C any](service, file string, environ []string, defaults C, check func(C) []string) (C, Report, error) {
	c := defaults
	r := newReading(service, file, reflect.ValueOf(&c).Elem())
	r.readFile()
	r.readEnvironment(environ)
	r.apply()
	if check != nil {
		r.complaints = append(r.complaints, check(c)...)
	}
	if len(r.complaints) > 0 {
		return c, r.report(), &Error{Service: service, Complaints: r.complaints}
	}
	return c, r.report(), nil
}
