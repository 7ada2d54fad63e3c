// Package schemas turns what Kubernetes and its extensions publish of their objects, OpenAPI and CustomResourceDefinitions,
// into JSON schemas that kubeconform reads. A field that no object has is refused by them.
package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Command is the program's command line.
func Command() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "schemas --out DIR FILE...",
		Short: "Write JSON schemas of the objects that an OpenAPI file (.json) or CustomResourceDefinitions (.yaml) describe",
		Long: "Write JSON schemas of the objects that an OpenAPI file (.json) or CustomResourceDefinitions (.yaml) describe.\n" +
			"kubeconform finds them by DIR/{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}.json.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if out == "" {
				return errors.New("--out names no folder for the schemas")
			}
			return Write(out, files...)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the folder for the schemas (required)")
	return cmd
}

// Write writes the schemas of every object in files into the folder out.
func Write(out string, files ...string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		read := definitions
		if filepath.Ext(file) == ".json" {
			read = openAPI
		}
		found, err := read(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for name, schema := range found {
			text, err := json.Marshal(schema)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// node is any part of a schema.
type node = map[string]any

// fileName is how kubeconform looks for an object's schema. The objects of the core have no group: their version stands for it.
func fileName(group, version, kind string) string {
	if group == "" {
		group = version
	}
	return fmt.Sprintf("%s_%s_%s.json", group, strings.ToLower(kind), version)
}

// openAPI are the schemas of every object in an OpenAPI 2 file, each with the definitions that it refers to.
func openAPI(text []byte) (map[string]node, error) {
	var file struct {
		Definitions map[string]node `json:"definitions"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	if len(file.Definitions) == 0 {
		return nil, errors.New("it defines nothing")
	}
	for name, d := range file.Definitions {
		strict(d)
		switch name {
		case "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":
			delete(d, "additionalProperties")
		case "io.k8s.apimachinery.pkg.api.resource.Quantity":
			d["type"] = []string{"string", "number"}
		}
	}
	found := map[string]node{}
	for name, d := range file.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			gvk, _ := k.(node)
			group, _ := gvk["group"].(string)
			version, _ := gvk["version"].(string)
			kind, _ := gvk["kind"].(string)
			if len(kinds) == 1 { // what stands in every group is no object of its own
				found[fileName(group, version, kind)] = node{"$ref": "#/definitions/" + name, "definitions": closure(file.Definitions, name)}
			}
		}
	}
	return found, nil
}

// closure are the definitions that one of them needs, itself included.
func closure(all map[string]node, name string) map[string]node {
	need := map[string]node{}
	var visit func(any)
	visit = func(part any) {
		switch p := part.(type) {
		case node:
			if to, ok := p["$ref"].(string); ok {
				to = strings.TrimPrefix(to, "#/definitions/")
				if _, seen := need[to]; !seen {
					need[to] = all[to]
					visit(all[to])
				}
			}
			for _, inner := range p {
				visit(inner)
			}
		case []any:
			for _, inner := range p {
				visit(inner)
			}
		}
	}
	need[name] = all[name]
	visit(all[name])
	return need
}

// definitions are the schemas in a file of CustomResourceDefinitions, one for each version of each.
func definitions(text []byte) (map[string]node, error) {
	found := map[string]node{}
	for docs := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var crd struct {
			Kind string
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema node `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := docs.Decode(&crd); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if crd.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, v := range crd.Spec.Versions {
			schema := v.Schema.OpenAPIV3Schema
			strict(schema)
			if properties, ok := schema["properties"].(node); ok {
				properties["metadata"] = node{"type": "object"} // it is described elsewhere, and so are these, by some
				properties["apiVersion"], properties["kind"] = node{"type": "string"}, node{"type": "string"}
			}
			found[fileName(crd.Spec.Group, v.Name, crd.Spec.Names.Kind)] = schema
		}
	}
	if len(found) == 0 {
		return nil, errors.New("it defines nothing")
	}
	return found, nil
}

// strict makes a schema refuse fields that it does not know, and says in JSON schema what OpenAPI says otherwise. Words for
// people are dropped: they are most of it.
func strict(part any) {
	switch p := part.(type) {
	case []any:
		for _, inner := range p {
			strict(inner)
		}
	case node:
		if _, ok := p["description"].(string); ok {
			delete(p, "description")
		}
		for _, inner := range p {
			strict(inner)
		}
		integerOrString(p)
		closed(p)
		if p["nullable"] == true {
			if kind, ok := p["type"].(string); ok {
				p["type"] = []string{kind, "null"}
			}
		}
	}
}

func integerOrString(p node) {
	if p["format"] == "int-or-string" || p["x-kubernetes-int-or-string"] == true {
		delete(p, "format")
		delete(p, "anyOf")
		p["type"] = []string{"integer", "string"}
	}
}

func closed(p node) {
	_, open := p["additionalProperties"]
	_, has := p["properties"].(node)
	if has && !open && p["x-kubernetes-preserve-unknown-fields"] != true && p["type"] == "object" {
		p["additionalProperties"] = false
	}
}
