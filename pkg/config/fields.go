package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one setting of a Config struct.
type field struct {
	key   string
	value reflect.Value
	also  string // a name in the environment that a standard gave it, "" for none; ours win
}

func (f field) secret() bool { return f.value.Type() == reflect.TypeFor[Secret]() }

// fields lists the settings of a struct in the order they are written, those of squashed parts included.
func fields(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("mapstructure"), ",")
		switch {
		case options == "squash":
			all = append(all, fields(v.Field(i))...)
		case key != "" && key != "-":
			all = append(all, field{key, v.Field(i), v.Type().Field(i).Tag.Get("env")})
		}
	}
	return all
}

// show is the field's value as one would write it in the environment.
func (f field) show() string {
	switch v := f.value.Interface().(type) {
	case Secret:
		return v.String()
	case bool:
		if v {
			return "on"
		}
		return "off"
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

// wants says in words what the field takes.
func (f field) wants() string {
	if f.value.Type() == reflect.TypeFor[time.Duration]() {
		return "a duration such as 250ms, 30s or 15m"
	}
	switch f.value.Kind() {
	case reflect.Bool:
		return "on or off"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list, separated by commas"
	default:
		return "text"
	}
}

// strictly turns what a file or the environment says into what the field takes. mapstructure alone would take 1.9 for
// the number 1, and 5 for a duration of five nanoseconds.
func strictly(from, to reflect.Type, data any) (any, error) {
	text, isText := data.(string)
	text = strings.TrimSpace(text)
	switch {
	case to == reflect.TypeFor[time.Duration]():
		if !isText {
			return nil, fmt.Errorf("a duration has a unit")
		}
		return time.ParseDuration(text)
	case to.Kind() == reflect.Bool && isText:
		return truth(text)
	case isInteger(to.Kind()):
		return whole(data, to)
	case isText && (to.Kind() == reflect.Float64 || to.Kind() == reflect.Float32):
		return number(text, to)
	case isText && to.Kind() == reflect.Slice:
		return list(text), nil
	}
	return data, nil
}

func truth(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("neither on nor off")
}

func isInteger(k reflect.Kind) bool { return reflect.Int <= k && k <= reflect.Uint64 }

func whole(data any, to reflect.Type) (any, error) {
	var text string
	switch d := data.(type) {
	case string:
		text = strings.TrimSpace(d)
	case float64: // how JSON reads every number
		text = strconv.FormatFloat(d, 'f', -1, 64)
	case int, int64, uint64:
		text = fmt.Sprint(d)
	default:
		return nil, fmt.Errorf("no number")
	}
	if to.Kind() >= reflect.Uint {
		return strconv.ParseUint(text, 10, to.Bits())
	}
	return strconv.ParseInt(text, 10, to.Bits())
}

func number(text string, to reflect.Type) (float64, error) {
	if strings.ContainsAny(text, "nNxX_") { // NaN, Inf and hexadecimals are no settings
		return 0, fmt.Errorf("no number")
	}
	return strconv.ParseFloat(text, to.Bits())
}

func list(text string) []string {
	all := []string{}
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}
