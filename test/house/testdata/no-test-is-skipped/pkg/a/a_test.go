package a

import "testing"

func TestOne(t *testing.T) { t.Skip("later") }

func BenchmarkTwo(b *testing.B) { b.SkipNow() }

func help(tb testing.TB) { tb.Skipf("%d", 1) }
