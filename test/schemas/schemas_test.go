package schemas_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/test/schemas"
)

const openAPI = `{"definitions":{
  "apps.Deployment":{"type":"object","description":"words","properties":{"spec":{"$ref":"#/definitions/apps.Spec"}},"required":["spec"],
    "x-kubernetes-group-version-kind":[{"group":"apps","kind":"Deployment","version":"v1"}]},
  "apps.Spec":{"type":"object","properties":{"port":{"$ref":"#/definitions/IntOrString"},"labels":{"type":"object","additionalProperties":{"type":"string"}},"description":{"type":"string"}}},
  "IntOrString":{"type":"string","format":"int-or-string"},
  "core.Service":{"type":"object","properties":{},"x-kubernetes-group-version-kind":[{"group":"","kind":"Service","version":"v1"}]},
  "meta.Status":{"type":"object","x-kubernetes-group-version-kind":[{"group":"","kind":"Status","version":"v1"},{"group":"apps","kind":"Status","version":"v1"}]}
}}`

const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  group: keda.sh
  names: {kind: ScaledObject}
  versions:
    - name: v1alpha1
      schema:
        openAPIV3Schema:
          type: object
          properties:
            metadata: {type: object, properties: {}}
            spec: {type: object, nullable: true, properties: {n: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}]}, free: {type: object, properties: {}, x-kubernetes-preserve-unknown-fields: true}}}
---
kind: Namespace
`

func TestWhatIsPublishedBecomesStrictSchemas(t *testing.T) {
	t.Parallel()
	in, out := t.TempDir(), t.TempDir()
	var files []string
	for name, text := range map[string]string{"swagger.json": openAPI, "crd.yaml": crd} {
		files = append(files, filepath.Join(in, name))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := schemas.Write(out, files...); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"apps_deployment_v1.json": `{"$ref":"#/definitions/apps.Deployment","definitions":{
			"apps.Deployment":{"type":"object","additionalProperties":false,"properties":{"spec":{"$ref":"#/definitions/apps.Spec"}},"required":["spec"],
				"x-kubernetes-group-version-kind":[{"group":"apps","kind":"Deployment","version":"v1"}]},
			"apps.Spec":{"type":"object","additionalProperties":false,"properties":{"port":{"$ref":"#/definitions/IntOrString"},
				"labels":{"type":"object","additionalProperties":{"type":"string"}},"description":{"type":"string"}}},
			"IntOrString":{"type":["integer","string"]}}}`,
		"v1_service_v1.json": `{"$ref":"#/definitions/core.Service","definitions":{"core.Service":{"type":"object","additionalProperties":false,"properties":{},
			"x-kubernetes-group-version-kind":[{"group":"","kind":"Service","version":"v1"}]}}}`,
		"keda.sh_scaledobject_v1alpha1.json": `{"type":"object","additionalProperties":false,"properties":{"metadata":{"type":"object"},"apiVersion":{"type":"string"},"kind":{"type":"string"},
			"spec":{"type":["object","null"],"nullable":true,"additionalProperties":false,"properties":{"n":{"type":["integer","string"],"x-kubernetes-int-or-string":true},
				"free":{"type":"object","properties":{},"x-kubernetes-preserve-unknown-fields":true}}}}}`,
	} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Error(err)
			continue
		}
		var has, wanted any
		if err := json.Unmarshal(text, &has); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(has, wanted) {
			t.Errorf("%s is %s", name, text)
		}
	}
	if all, err := os.ReadDir(out); err != nil || len(all) != 3 {
		t.Errorf("%d files (%v), want 3", len(all), err)
	}
}

func TestWhatDefinesNothingIsAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty.json": `{}`, "broken.json": `{`, "other.yaml": `kind: Namespace`, "broken.yaml": `a: [`} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := schemas.Write(t.TempDir(), path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
