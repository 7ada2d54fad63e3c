package items

import (
	"fmt"
	"time"
)

// Config says what is kept of items, where and for how long.
type Config struct {
	Local        int           `mapstructure:"items_local"`          // how many this process keeps
	LocalTTL     time.Duration `mapstructure:"items_local_ttl"`      // how long it keeps them before it asks Redis again
	RedisTTL     time.Duration `mapstructure:"items_redis_ttl"`      // how long Redis keeps them
	RedisSpread  time.Duration `mapstructure:"items_redis_spread"`   // by how much that differs from item to item, up and down
	AbsentTTL    time.Duration `mapstructure:"items_absent_ttl"`     // how long both remember that there is no such item
	Filter       uint          `mapstructure:"items_filter"`         // for how many skus the filter is made
	FilterRate   float64       `mapstructure:"items_filter_rate"`    // how many of those that do not exist it lets pass
	FilterMaxAge time.Duration `mapstructure:"items_filter_max_age"` // after which it is made anew
	Warm         int           `mapstructure:"items_warm"`           // how many of those that sold most are loaded before the door opens
}

// Defaults are the settings of a cache that was told nothing.
func Defaults() Config {
	return Config{
		Local: 10_000, LocalTTL: 10 * time.Minute, RedisTTL: 7200 * time.Second, RedisSpread: 600 * time.Second, AbsentTTL: time.Minute,
		Filter: 1_000_000, FilterRate: 0.0001, FilterMaxAge: 10 * time.Minute, Warm: 100,
	}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if c.Local < 1 {
		bad = append(bad, fmt.Sprintf("items_local is %d: at least one item must be kept", c.Local))
	}
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"items_local_ttl", c.LocalTTL}, {"items_redis_ttl", c.RedisTTL}, {"items_absent_ttl", c.AbsentTTL}, {"items_filter_max_age", c.FilterMaxAge}} {
		if t.d < time.Second || t.d > 30*24*time.Hour {
			bad = append(bad, fmt.Sprintf("%s is %v: it must be from 1s to 30 days", t.name, t.d))
		}
	}
	if c.RedisSpread < 0 || c.RedisSpread >= c.RedisTTL {
		bad = append(bad, fmt.Sprintf("items_redis_spread is %v: it must be less than items_redis_ttl (%v)", c.RedisSpread, c.RedisTTL))
	}
	if c.Filter < 1 || c.Filter > 100_000_000 {
		bad = append(bad, fmt.Sprintf("items_filter is %d: it must be from 1 to 100,000,000 skus", c.Filter))
	}
	if c.FilterRate <= 0 || c.FilterRate >= 1 {
		bad = append(bad, fmt.Sprintf("items_filter_rate is %v: it must be between 0 and 1", c.FilterRate))
	}
	if c.Warm < 0 {
		bad = append(bad, fmt.Sprintf("items_warm is %d: it must not be below 0", c.Warm))
	}
	return bad
}
