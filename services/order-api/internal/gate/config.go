package gate

import "fmt"

// The gates there are.
const (
	KindLua = "lua"
	KindOff = "off"
)

// Config says which gate there is.
type Config struct {
	Kind string `mapstructure:"gate"`
}

// Defaults are the settings of a gate that was told nothing.
func Defaults() Config { return Config{Kind: KindLua} }

// Check says what is wrong with c; nil when nothing is.
func (c Config) Check() []string {
	if c.Kind != KindLua && c.Kind != KindOff {
		return []string{fmt.Sprintf("gate is %q: it must be %s or %s", c.Kind, KindLua, KindOff)}
	}
	return nil
}
