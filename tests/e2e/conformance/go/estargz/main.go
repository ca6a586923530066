// estargz: reads an eStargz blob with stargz-snapshotter's own library, as its mounts do, and prints what it found.
//
// Usage: estargz BLOB TOC-DIGEST
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
)

type entry struct {
	Type   string `json:"type"`
	Mode   int64  `json:"mode"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

func main() {
	file, err := os.Open(os.Args[1])
	check(err)
	stat, err := file.Stat()
	check(err)
	reader, err := estargz.Open(io.NewSectionReader(file, 0, stat.Size()))
	check(err)
	verifier, err := reader.VerifyTOC(digest.Digest(os.Args[2]))
	check(err)
	found := map[string]entry{}
	walk(reader, verifier, "", found)
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func walk(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string, found map[string]entry) {
	node, ok := reader.Lookup(name)
	if !ok {
		log.Fatalf("%q is not in the table", name)
	}
	is := entry{Type: node.Type, Mode: node.Mode, Size: node.Size}
	if node.Type == "reg" {
		is.SHA256 = read(reader, verifier, name, node.Size)
	}
	found[name] = is
	node.ForeachChild(func(base string, _ *estargz.TOCEntry) bool {
		walk(reader, verifier, path.Join(name, base), found)
		return true
	})
}

// read returns the digest of a file, each of its chunks read and verified by itself.
func read(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string, size int64) string {
	content, err := reader.OpenFile(name)
	check(err)
	whole := sha256.New()
	for offset := int64(0); offset < size; {
		chunk, ok := reader.ChunkEntryForOffset(name, offset)
		if !ok || chunk.ChunkOffset != offset {
			log.Fatalf("%s has no chunk at byte %d", name, offset)
		}
		verify, err := verifier.Verifier(chunk)
		check(err)
		_, err = io.Copy(io.MultiWriter(whole, verify), io.NewSectionReader(content, offset, chunk.ChunkSize))
		check(err)
		if !verify.Verified() {
			log.Fatalf("the chunk of %s at byte %d is not what its digest says", name, offset)
		}
		offset += chunk.ChunkSize
	}
	return fmt.Sprintf("%x", whole.Sum(nil))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
