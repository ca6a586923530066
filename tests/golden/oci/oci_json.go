// Writes the golden documents beside it: `go run oci_json.go`. The types are image-spec 1.1's, field for field.
package main

import (
	"encoding/json"
	"os"
)

type Platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

const digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func main() {
	hostile := map[string]string{
		"z": "last", "a": "first", "Z": "capital", "é": "é", "\U0001F9E0": "beyond the BMP", "\uffef": "before it",
		"html": "<b>&'\"</b>", "control": "\x00\x01\b\t\n\f\r\x1f\x7f", "lines": "\u2028\u2029", "path": `\/`,
	}
	full := Descriptor{
		MediaType: "text/plain", Digest: digest, Size: 5, URLs: []string{"https://example.org/?a=1&b=<2>"},
		Annotations: hostile, Data: []byte("hello"), ArtifactType: "application/x",
		Platform: &Platform{"arm64", "linux", "10.0", []string{"f"}, "v8"},
	}
	small := Descriptor{MediaType: "text/plain", Digest: digest, Size: 5}
	image, index := "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	write("manifest.json", Manifest{2, image, "application/x", small, []Descriptor{full, small}, &small, hostile})
	write("manifest-small.json", Manifest{2, image, "", small, []Descriptor{}, nil, nil})
	write("index.json", Index{2, index, "application/x", []Descriptor{full, small}, &small, hostile})
	write("index-small.json", Index{2, index, "", []Descriptor{}, nil, nil})
}

func write(name string, value any) {
	raw, err := json.Marshal(value)
	if err == nil {
		err = os.WriteFile(name, raw, 0o666)
	}
	if err != nil {
		panic(err)
	}
}
