package config

import "testing"

// TestStandardNamesAreReadAndOursWin sets a field by the name that a standard gave it.
func TestStandardNamesAreReadAndOursWin(t *testing.T) {
	t.Parallel()
	type settings struct {
		Endpoint string `mapstructure:"otlp_endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
		Headers  Secret `mapstructure:"otlp_headers" env:"OTEL_EXPORTER_OTLP_HEADERS"`
	}
	environ := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:4317", "OTEL_EXPORTER_OTLP_HEADERS=k=v"}
	c, report, err := Load("points", "", environ, settings{}, nil)
	if err != nil || c.Endpoint != "http://a:4317" || c.Headers.Reveal() != "k=v" {
		t.Errorf("%+v %v", c, err)
	}
	if got := report.Settings[0]; got.Origin != "OTEL_EXPORTER_OTLP_ENDPOINT" {
		t.Errorf("it came from %s", got.Origin)
	}
	c, report, err = Load("points", "", append(environ, "FLOODGATE_OTLP_ENDPOINT=http://b:4317"), settings{}, nil)
	if err != nil || c.Endpoint != "http://b:4317" || report.Settings[0].Origin != "FLOODGATE_OTLP_ENDPOINT" {
		t.Errorf("%+v from %s, %v", c, report.Settings[0].Origin, err)
	}
}
