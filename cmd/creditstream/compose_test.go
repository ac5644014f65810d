package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What deploy/compose.yaml mounts is there, and Grafana looks for dashboards and for
// Prometheus where they are. That it starts is for `make test-compose`.
func TestComposeFindsItsFiles(t *testing.T) {
	t.Parallel()
	const dir = "../../deploy"
	read := func(file string, into any) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	var compose struct {
		Services map[string]struct {
			Image           string
			Command, Ports  []string
			Volumes         []string
			StopGracePeriod string `yaml:"stop_grace_period"`
		}
		Volumes map[string]any
	}
	read("compose.yaml", &compose)
	mounted := map[string]string{} // of grafana: where -> what
	for name, s := range compose.Services {
		if !strings.HasPrefix(s.Image, "${CREDITSTREAM_") {
			t.Errorf("%s: image %s has no variable", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to others", name, port)
			}
		}
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			if _, named := compose.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "grafana" {
				mounted[strings.TrimSuffix(to, ":ro")] = from
			}
		}
	}
	if c := compose.Services["creditstream"]; !strings.Contains(strings.Join(c.Command, " "), "--tokens=") || c.StopGracePeriod != "30s" {
		t.Errorf("creditstream: %+v", c)
	}

	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	read("compose/grafana/dashboards/creditstream.yaml", &providers)
	if len(providers.Providers) != 1 || mounted[providers.Providers[0].Options.Path] != "./grafana" {
		t.Errorf("dashboards are at %+v, mounted are %v", providers, mounted)
	}
	if mounted["/etc/grafana/provisioning"] != "./compose/grafana" {
		t.Errorf("mounted are %v", mounted)
	}
	var sources struct {
		Datasources []struct{ URL, Type string }
	}
	read("compose/grafana/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("data sources %+v", sources)
	}
}
