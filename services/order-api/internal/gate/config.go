package gate

import "fmt"

// The gates there are.
const (
	KindLua  = "lua"  // one script for each batch: the default
	KindLock = "lock" // a lock for each sku, for comparison
	KindOff  = "off"  // the transaction alone
)

// Config says which gate there is.
type Config struct {
	Kind string `mapstructure:"gate"`
}

// Defaults are the settings of a gate that was told nothing.
func Defaults() Config { return Config{Kind: KindLua} }

// Check says what is wrong with c; nil when nothing is.
func (c Config) Check() []string {
	if c.Kind != KindLua && c.Kind != KindLock && c.Kind != KindOff {
		return []string{fmt.Sprintf("gate is %q: it must be %s, %s or %s", c.Kind, KindLua, KindLock, KindOff)}
	}
	return nil
}
