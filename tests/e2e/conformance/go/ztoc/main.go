// ztoc: reads a zTOC with soci-snapshotter's own library and takes every file of the layer out by it; or makes the zTOC
// of a layer.
//
// Usage: ztoc read LAYER ZTOC | ztoc write LAYER TOOL
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"
	digest "github.com/opencontainers/go-digest"
)

const span = 4 << 20

func main() {
	time.Local = time.UTC
	layer, what := os.Args[2], os.Args[3]
	if os.Args[1] == "write" {
		table, err := ztoc.NewBuilder(what).BuildZtoc(layer, span, ztoc.WithCompression(compression.Uncompressed))
		check(err)
		content, _, err := ztoc.Marshal(table)
		check(err)
		_, err = io.Copy(os.Stdout, content)
		check(err)
		return
	}
	serialized, err := os.Open(what)
	check(err)
	table, err := ztoc.Unmarshal(serialized)
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(read(layer, table)))
}

// read returns the digests of all files, having verified the spans that they are read from.
func read(layer string, table *ztoc.Ztoc) map[string]string {
	file, err := os.Open(layer)
	check(err)
	blob := io.NewSectionReader(file, 0, int64(table.CompressedArchiveSize))
	info, err := table.Zinfo()
	check(err)
	for id := compression.SpanID(0); id <= info.MaxSpanID(); id++ {
		start, end := info.StartCompressedOffset(id), info.EndCompressedOffset(id, table.CompressedArchiveSize)
		found, err := digest.FromReader(io.NewSectionReader(blob, int64(start), int64(end-start)))
		check(err)
		if found != table.SpanDigests[id] {
			log.Fatalf("span %d is not what its digest says", id)
		}
	}
	result := map[string]string{}
	for _, member := range table.FileMetadata {
		if member.Type == "reg" {
			content, err := table.ExtractFile(blob, member.Name)
			check(err)
			result[member.Name] = fmt.Sprintf("%x", sha256.Sum256(content))
		}
	}
	return result
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
