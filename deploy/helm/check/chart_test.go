package check_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../creditstream"

// least are the values that must be given.
const least = `
config: {brokers: [kafka-1:9092], redis: [redis-1:6379]}
existingSecret: creditstream
deck: {configMap: {name: deck}}
`

// most switches everything on.
const most = `
image: {digest: "sha256:` + digest + `"}
imagePullSecrets: [{name: registry}]
replicas: 5
config: {brokers: "kafka-1:9092,kafka-2:9092", redis: [redis-1:6379, redis-2:6379], shards: 256, id-window: 40d}
existingSecret: credit
signingSecrets: true
tls: true
envFromSecrets: [passwords]
deck: {persistentVolumeClaim: {claimName: deck}}
extraVolumes: [{name: mapping, configMap: {name: mapping}}]
extraVolumeMounts: [{name: mapping, mountPath: /etc/creditstream/mapping, readOnly: true}]
service: {port: 443, annotations: {a: b}}
terminationGracePeriodSeconds: 60
podDisruptionBudget: {maxUnavailable: 50%}
networkPolicy:
  from: [{namespaceSelector: {matchLabels: {team: voice}}}]
  kafka: {to: [{ipBlock: {cidr: 10.0.0.0/24}}], ports: [9092, 9093]}
  extraEgress: [{ports: [{port: 4317}]}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}, without: []}
dashboards: {enabled: true, annotations: {grafana_folder: creditstream}}
serviceAccount: {annotations: {a: b}}
podAnnotations: {a: b}
podLabels: {team: billing}
nodeSelector: {disk: ssd}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
`

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// rendered is what the chart makes of values.
type rendered struct {
	configMaps map[string]*core.ConfigMap
	account    *core.ServiceAccount
	service    *core.Service
	deployment *apps.Deployment
	budget     *policy.PodDisruptionBudget
	network    *networking.NetworkPolicy
	monitor    *monitoring.ServiceMonitor
	rules      *monitoring.PrometheusRule
}

// decode reads one object, strictly.
func (r *rendered) decode(doc string) error {
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
		return err
	}
	var into any
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 ConfigMap":
		c := &core.ConfigMap{}
		if err := yaml.UnmarshalStrict([]byte(doc), c); err != nil {
			return err
		}
		r.configMaps[c.Name] = c
		return nil
	case "v1 ServiceAccount":
		r.account = &core.ServiceAccount{}
		into = r.account
	case "v1 Service":
		r.service = &core.Service{}
		into = r.service
	case "apps/v1 Deployment":
		r.deployment = &apps.Deployment{}
		into = r.deployment
	case "policy/v1 PodDisruptionBudget":
		r.budget = &policy.PodDisruptionBudget{}
		into = r.budget
	case "networking.k8s.io/v1 NetworkPolicy":
		r.network = &networking.NetworkPolicy{}
		into = r.network
	case "monitoring.coreos.com/v1 ServiceMonitor":
		r.monitor = &monitoring.ServiceMonitor{}
		into = r.monitor
	case "monitoring.coreos.com/v1 PrometheusRule":
		r.rules = &monitoring.PrometheusRule{}
		into = r.rules
	default:
		return fmt.Errorf("%s %s: not expected", kind.APIVersion, kind.Kind)
	}
	return yaml.UnmarshalStrict([]byte(doc), into)
}

func values(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// files renders the chart, as `helm template` does.
func files(text map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	v, err := chartutil.ToRenderValues(chart, text, common.ReleaseOptions{Name: "prod", Namespace: "voice"}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, v)
}

func render(t *testing.T, text string) *rendered {
	t.Helper()
	all, err := files(values(t, text))
	if err != nil {
		t.Fatal(err)
	}
	r := &rendered{configMaps: map[string]*core.ConfigMap{}}
	for file, text := range all {
		if path.Ext(file) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			if err := r.decode(doc); err != nil {
				t.Errorf("%s: %v\n%s", file, err, doc)
			}
		}
	}
	if r.deployment == nil || r.service == nil || r.account == nil {
		t.Fatal("there is no deployment, service or account")
	}
	return r
}

func TestLint(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"least": least, "most": most} {
		for _, m := range lint.RunAll(chartDir, values(t, text), "voice").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// What is missing, or would break a promise, is refused with its place.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"/existingSecret":                 "config: {brokers: [k:1], redis: [r:1]}\ndeck: {emptyDir: {}}",
		"/deck":                           "config: {brokers: [k:1], redis: [r:1]}\nexistingSecret: s",
		"/config/brokers":                 strings.Replace(least, "[kafka-1:9092]", "[]", 1),
		"/config/redis":                   strings.Replace(least, "redis-1:6379", "redis", 1),
		"/config/http":                    strings.Replace(least, "config: {", "config: {http: 127.0.0.1:1, ", 1),
		"/config/tokens":                  strings.Replace(least, "config: {", "config: {tokens: /t, ", 1),
		"/terminationGracePeriodSeconds":  least + "terminationGracePeriodSeconds: 10",
		"additional properties 'replica'": least + "replica: 3",
		"/image/digest":                   least + "image: {digest: latest}",
	} {
		if _, err := files(values(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
}
