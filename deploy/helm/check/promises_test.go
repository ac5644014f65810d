package check_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const repository = "../../.."

// drain is how long a processor may need to end: 10 seconds for the stream, and 5 that
// the API outlives it.
const drain = 15

// The pod has no rights that it does not need, and time enough to end.
func TestPod(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"least": least, "most": most} {
		r := render(t, text)
		pod := r.deployment.Spec.Template.Spec
		c := pod.Containers[0]
		if grace := *pod.TerminationGracePeriodSeconds; grace < drain+5 {
			t.Errorf("%s: %d s to end, and %d may be needed", name, grace, drain)
		}
		if s := pod.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod %+v", name, s)
		}
		if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || s.Privileged != nil {
			t.Errorf("%s: container %+v", name, s)
		}
		if *pod.AutomountServiceAccountToken || *r.account.AutomountServiceAccountToken || pod.HostNetwork || pod.HostPID {
			t.Errorf("%s: it has a token of Kubernetes, or is on the host", name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: resources %+v", name, c.Resources)
		}
		scheme := core.URISchemeHTTP
		if name == "most" {
			scheme = core.URISchemeHTTPS
		}
		for where, p := range map[string]*core.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if p.HTTPGet.Path != where || p.HTTPGet.Port.StrVal != c.Ports[0].Name || p.HTTPGet.Scheme != scheme {
				t.Errorf("%s: probe %+v", name, p.HTTPGet)
			}
		}
		if c.StartupProbe == nil || len(pod.TopologySpreadConstraints) != 2 {
			t.Errorf("%s: no start-up probe, or no spread", name)
		}
		mounted := map[string]bool{}
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
			if !m.ReadOnly {
				t.Errorf("%s: %s can be written", name, m.MountPath)
			}
		}
		for _, v := range pod.Volumes {
			if !mounted[v.Name] || v.HostPath != nil {
				t.Errorf("%s: volume %s is mounted nowhere, or of the host", name, v.Name)
			}
			delete(mounted, v.Name)
		}
		if len(mounted) > 0 {
			t.Errorf("%s: no volumes for %v", name, mounted)
		}
		if _, given := c.Resources.Limits[core.ResourceCPU]; given {
			t.Errorf("%s: a limit of processor time would stop heartbeats", name)
		}
	}
}

// All that picks pods picks those of the deployment.
func TestSelectors(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"least": least, "most": most} {
		r := render(t, text)
		pod := labels.Set(r.deployment.Spec.Template.Labels)
		picks := map[string]map[string]string{
			"deployment": r.deployment.Spec.Selector.MatchLabels, "service": r.service.Spec.Selector,
			"budget": r.budget.Spec.Selector.MatchLabels, "network": r.network.Spec.PodSelector.MatchLabels,
		}
		for _, s := range r.deployment.Spec.Template.Spec.TopologySpreadConstraints {
			picks[s.TopologyKey] = s.LabelSelector.MatchLabels
		}
		if r.monitor != nil {
			if !labels.SelectorFromSet(r.monitor.Spec.Selector.MatchLabels).Matches(labels.Set(r.service.Labels)) {
				t.Errorf("%s: the monitor does not pick the service", name)
			}
			if e := r.monitor.Spec.Endpoints[0]; e.Port != r.service.Spec.Ports[0].Name || e.Authorization.Credentials.Key != "metrics-token" {
				t.Errorf("%s: endpoint %+v", name, e)
			}
		}
		for what, pick := range picks {
			if len(pick) < 2 || !labels.SelectorFromSet(pick).Matches(pod) {
				t.Errorf("%s: %s picks %v, pods have %v", name, what, pick, pod)
			}
		}
		if r.service.Spec.Ports[0].TargetPort.StrVal != r.deployment.Spec.Template.Spec.Containers[0].Ports[0].Name {
			t.Errorf("%s: service %+v", name, r.service.Spec.Ports)
		}
		if len(r.network.Spec.PolicyTypes) != 2 || len(r.network.Spec.Ingress) != 1 || len(r.network.Spec.Ingress[0].From) == 0 || len(r.network.Spec.Egress) < 3 {
			t.Errorf("%s: network policy %+v", name, r.network.Spec)
		}
	}
	if image := render(t, most).deployment.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, "@sha256:"+digest) {
		t.Errorf("image %s", image)
	}
}

// The file of settings has names that `creditstream run` knows, and paths that are
// mounted; a change of it makes new pods.
func TestConfig(t *testing.T) {
	t.Parallel()
	help := exec.Command("go", "run", "-buildvcs=false", "./cmd/creditstream", "run", "--help")
	help.Dir = repository
	known, err := help.Output()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for name, text := range map[string]string{"least": least, "most": most, "other": strings.Replace(least, "kafka-1", "kafka-9", 1)} {
		r := render(t, text)
		var config map[string]any
		if err := yaml.UnmarshalStrict([]byte(r.configMaps["prod-creditstream"].Data["creditstream.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		for key, value := range config {
			if !bytes.Contains(known, []byte("--"+key+" ")) {
				t.Errorf("%s: creditstream run has no setting %s", name, key)
			}
			file, _ := value.(string)
			if strings.HasPrefix(file, "/") && !slices.ContainsFunc(r.deployment.Spec.Template.Spec.Containers[0].VolumeMounts, func(m core.VolumeMount) bool {
				return file == m.MountPath || filepath.Dir(file) == m.MountPath
			}) {
				t.Errorf("%s: %s: %s is mounted nowhere", name, key, file)
			}
		}
		if _, plain := config["plain-http"]; plain == (config["tls-cert"] != nil) {
			t.Errorf("%s: neither TLS nor plain HTTP, or both: %v", name, config)
		}
		sum := r.deployment.Spec.Template.Annotations["checksum/config"]
		if sums[sum] != "" {
			t.Errorf("%s: the pods are those of %s, though the settings differ", name, sums[sum])
		}
		sums[sum] = name
	}
}

// Dashboards and rules are those of deploy/, byte by byte and alert by alert.
func TestWatched(t *testing.T) {
	t.Parallel()
	r := render(t, most)
	boards, err := filepath.Glob(repository + "/deploy/grafana/*.json")
	if err != nil || len(boards) == 0 {
		t.Fatal(boards, err)
	}
	for _, file := range boards {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		c := r.configMaps["prod-creditstream-"+name]
		if c == nil || strings.TrimSpace(c.Data["creditstream-"+name+".json"]) != strings.TrimSpace(string(want)) || c.Labels["grafana_dashboard"] != "1" {
			t.Errorf("dashboard %s is not there, or another", name)
		}
	}
	if len(r.configMaps) != len(boards)+1 {
		t.Errorf("%d ConfigMaps", len(r.configMaps))
	}
	want := map[string]string{}
	files, err := filepath.Glob(repository + "/deploy/prometheus/*.rules.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		var groups struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = yaml.Unmarshal(text, &groups)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups.Groups {
			for _, rule := range g.Rules {
				want[rule.Alert] = rule.Expr
			}
		}
	}
	have := func(r *rendered) map[string]string {
		all := map[string]string{}
		for _, g := range r.rules.Spec.Groups {
			for _, rule := range g.Rules {
				all[rule.Alert] = rule.Expr.StrVal
			}
		}
		return all
	}
	if !maps.Equal(have(r), want) {
		t.Errorf("rules %v, want %v", have(r), want)
	}
	delete(want, "CreditstreamVerifyNotRun")
	delete(want, "CreditstreamDeadLettersNotCounted")
	if r := render(t, least+"prometheusRule: {enabled: true}"); !maps.Equal(have(r), want) {
		t.Errorf("by default %v, want %v", have(r), want)
	}
}
