// Command grammar says what the Go implementations of the two grammars make of a list of inputs.
//
// Its output is committed beside it; `go run . > vectors.json` writes it anew.
package main

import (
	_ "crypto/sha256" // registers the algorithms with go-digest
	_ "crypto/sha512"
	"encoding/json"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

type referenceVector struct {
	Input  string `json:"input"`
	OK     bool   `json:"ok"`
	Domain string `json:"domain,omitempty"`
	Path   string `json:"path,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Digest string `json:"digest,omitempty"`
	Error  string `json:"error,omitempty"`
}

type digestVector struct {
	Input     string `json:"input"`
	OK        bool   `json:"ok"`
	Algorithm string `json:"algorithm,omitempty"`
	Encoded   string `json:"encoded,omitempty"`
	Error     string `json:"error,omitempty"`
}

type vectors struct {
	References []referenceVector `json:"references"`
	Digests    []digestVector    `json:"digests"`
}

func parseReference(input string) referenceVector {
	named, err := reference.ParseNormalizedNamed(input)
	if err != nil {
		return referenceVector{Input: input, Error: err.Error()}
	}
	vector := referenceVector{
		Input: input, OK: true, Domain: reference.Domain(named), Path: reference.Path(named),
	}
	if tagged, ok := named.(reference.Tagged); ok {
		vector.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		vector.Digest = digested.Digest().String()
	}
	return vector
}

func parseDigest(input string) digestVector {
	parsed, err := digest.Parse(input)
	if err != nil {
		return digestVector{Input: input, Error: err.Error()}
	}
	return digestVector{
		Input: input, OK: true, Algorithm: parsed.Algorithm().String(), Encoded: parsed.Encoded(),
	}
}

const (
	hex64  = "4b825dc642cb6eb9a060e54bf8d69288fbee4904e0a1b2c3d4e5f60718293a4b"
	sha256 = "sha256:" + hex64
	sha384 = "sha384:" + hex64 + "00112233445566778899aabbccddeeff"
	sha512 = "sha512:" + hex64 + hex64
)

func digests() []string {
	inputs := []string{
		"", ":", "sha256", "sha256:", ":" + hex64, hex64, sha256, sha384, sha512,
		"sha256:" + hex64[1:], "sha256:" + hex64 + "0", "sha512:" + hex64, "sha256:" + hex64 + hex64,
		"sha256:" + strings.ToUpper(hex64), "sha256:" + hex64[:63] + "g", "sha256:" + hex64[:63] + "A",
		"SHA256:" + hex64, "Sha256:" + hex64, " " + sha256, sha256 + " ", sha256 + "\n", "\t" + sha256,
		"sha256:../../x", "sha256:" + strings.Repeat("../", 21) + "x", "sha256:" + hex64[:62] + "/.",
		"sha256: " + hex64[1:], "sha256::" + hex64, "sha256:" + sha256, "sha256-" + hex64, "sha256/" + hex64,
		"sha256+b64:" + hex64, "sha256+b64u:" + hex64, "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"sha224:" + hex64[:56], "blake3:" + hex64, "sha3-256:" + hex64, "sha512/256:" + hex64,
		"sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("f", 64), "sha256:" + strings.Repeat("a", 63) + "\x00",
		"sha256:" + strings.Repeat("１", 64), "sha256:" + strings.Repeat("а", 64), "ѕha256:" + hex64, "sha256：" + hex64,
		"sha512:" + strings.Repeat("0", 127), "sha512:" + strings.Repeat("0", 128), "sha512:" + strings.Repeat("0", 129),
		"sha384:" + strings.Repeat("0", 95), "sha384:" + strings.Repeat("0", 97), "sha256:0x" + hex64[2:],
		"_sha256:" + hex64, "sha256_:" + hex64,
		"sha256+:" + hex64, "+sha256:" + hex64, "sha.256:" + hex64, "null", "undefined", "sha256:null", "0:0",
	}
	return inputs
}

func repeat(component string, length int) string {
	return strings.Repeat(component, length)
}

func references() []string {
	inputs := []string{
		// Names alone.
		"", " ", "a", "0", "A", "alpine", "Alpine", "ALPINE", "alpine ", " alpine", "alpine\n", "\nalpine", "al pine",
		"library/alpine", "org/app", "Org/app", "org/App", "ORG/app", "a/b/c/d/e/f/g", "a/b/C", "a//b", "/a", "a/", "/", "//",
		"a/./b", "a/../b", "..", "../a", "a/..", ".", "./a", "a.", ".a", "a..b", "a.b", "a_b", "a__b", "a___b", "a____b",
		"_a", "a_", "a__", "-a", "a-", "a-b", "a--b", "a---b", "a-----b", "a-.b", "a.-b", "a_-b", "a-_b", "a._b", "a.b-c_d__e",
		"a/b.", "a/.b", "a/_b", "a/b_", "a/-b", "a/b-", "a/b__c", "a/b___c", "a/b..c", "a/b--c", "a+b", "a/b+c", "a~b", "a/b~c",
		"a%2fb", "a\\b", "a/b\\c", "a?b", "a#b", "a&b", "a=b", "a;b", "a,b", "a!b", "a$b", "a*b", "a'b", "a\"b", "a|b", "a<b", "a^b",
		"a\x00b", "a\tb", "a\x7fb", "é", "a/é", "ａ", "а/b", "a/ß", "日本語", "日本語/a", "a/\u200b", "İ/a", "ſ/a", "K/a",
		// Hosts.
		"localhost/a", "localhost", "localhost:5000", "localhost:5000/", "localhost:5000/a", "LOCALHOST/a", "Localhost/a",
		"localhost.evil.example/a", "localhost/A", "host/a", "Host/a", "HOST/a", "host.example/a", "Host.Example/a", "host.example",
		"host.example/", "host.example/a/b/c", "host:80/a", "host:0/a", "host:65535/a", "host:65536/a", "host:99999/a",
		"host:100000/a", "host:00080/a", "host:000080/a", "host:/a", "host:port/a", "host:-1/a", "host:+1/a", "host: 1/a",
		"host:80:80/a", "host:8０/a", "host..example/a", ".host.example/a", "host.example./a", "-host.example/a",
		"host-.example/a", "host.-example/a", "ho--st.example/a", "xn--bcher-kva.example/a", "bücher.example/a", "ho_st.example/a",
		"ho_st:5000/a", "a.b_c/d", "1.2.3.4/a", "1.2.3.4:5000/a", "127.0.0.1/a", "999.999.999.999/a", "1/a", "1:1/a",
		"[::1]/a", "[::1]:5000/a", "[::1]:/a", "[::1]:x/a", "[::1]a/b", "[::1", "[::1]", "[::1]:5000", "::1/a", "::1:5000/a",
		"[2001:db8::1]:443/a/b:v1", "[2001:DB8::1]/a", "[fe80::1%eth0]/a", "[fe80::1%25eth0]:5000/a", "[::ffff:1.2.3.4]/a",
		"[1.2.3.4]/a", "[]/a", "[]:5000/a", "[:]/a", "[:::::]/a", "[g::1]/a", "[1:2:3:4:5:6:7:8]/a", "[1:2:3:4:5:6:7:8:9]/a",
		"[12345::]/a", "[::1]]/a", "[[::1]]/a", "user@host.example/a", "user:secret@host.example/a", "host.example@/a",
		"http://host.example/a", "https://host.example/a", "docker://alpine", "oci:alpine", "file:///a", "//host.example/a",
		// Docker Hub.
		"docker.io/alpine", "docker.io/library/alpine", "docker.io/org/app", "docker.io/", "docker.io", "docker.io/a/b/c",
		"index.docker.io/alpine", "index.docker.io/library/alpine", "index.docker.io/org/app", "registry-1.docker.io/alpine",
		"registry-1.docker.io/library/alpine", "registry.hub.docker.com/library/alpine", "docker.io:443/alpine", "Docker.io/alpine",
		"DOCKER.IO/alpine", "docker.com/alpine", "docker.io/alpine:3", "docker.io/alpine@" + sha256, "docker.io/library",
		"library", "library/library/a", "docker.io/docker.io/a", "docker/io/alpine", "index.docker.io/a:b@" + sha256,
		// Tags.
		"a:", "a:b", "a:B", "a:1", "a:_", "a:.", "a:-", "a:.b", "a:-b", "a:_b", "a:b.", "a:b-", "a:b_", "a:b.c-d_e", "a:b c", "a: b",
		"a:b ", "a:b\n", "a:b+c", "a:b/c", "a:b:c", "a::b", "a:b@", "a:é", "a:１", "a:b\x00", "a:..", "a:../b", "a:b~", "a:sha256", "a:@",
		"a/b:c", "a/b:c/d", "host.example/a:b", "host.example:5000/a:b", "host.example:5000/a:5000", "host.example/a:b:c",
		"host:5000:5000", "host:5000/a:", "[::1]/a:b", "[::1]:5000/a:b", ":", ":b", "/:b", "a/:b",
		"a:" + repeat("t", 127), "a:" + repeat("t", 128), "a:" + repeat("t", 129), "a:" + repeat(".", 128), "a:_" + repeat(".", 127),
		"host.example:5000/a:" + repeat("9", 128), "host.example:5000/a:" + repeat("9", 129),
		// Digests.
		"a@" + sha256, "a:b@" + sha256, "a@" + sha384, "a@" + sha512, "a:b@" + sha512, "host.example/a@" + sha256,
		"host.example:5000/a:b@" + sha256, "[::1]:5000/a/b:c@" + sha512, "@" + sha256, "a/@" + sha256, ":b@" + sha256,
		"a@", "a@sha256", "a@sha256:", "a@:" + hex64, "a@" + hex64, "a@sha256:" + hex64[1:], "a@sha256:" + hex64 + "0",
		"a@sha256:" + strings.ToUpper(hex64), "a@SHA256:" + hex64, "a@sha512:" + hex64, "a@sha256:" + hex64 + hex64,
		"a@md5:d41d8cd98f00b204e9800998ecf8427e", "a@sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "a@blake3:" + hex64,
		"a@sha256:../../x", "a@sha256+b64:" + hex64, "a@" + sha256 + ":b", "a@" + sha256 + "@" + sha256, "a@@" + sha256,
		"a@" + sha256 + " ", "a@" + sha256 + "\n", "a@ " + sha256, "a:@" + sha256, "A@" + sha256, "a@b", "a@b:c", "a:b@c",
		"a@sha256:" + hex64[:63] + "g", "a@a:" + hex64, "a@a+b:" + hex64, "a@a.b_c-d:" + hex64, "a@a:" + repeat("f", 32),
		"a@a:" + repeat("f", 31), "a:b@md5:d41d8cd98f00b204e9800998ecf8427e",
		// What looks like the identifier of an image.
		hex64, hex64 + ":b", hex64 + "@" + sha256, "library/" + hex64, "a/" + hex64, hex64 + "/a", "docker.io/" + hex64,
		hex64[1:], hex64 + "0", strings.ToUpper(hex64), sha256, sha256 + ":b", "sha256/" + hex64, "host.example/" + hex64,
	}
	// Lengths.
	for _, length := range []int{127, 128, 129, 246, 247, 248, 254, 255, 256, 300} {
		inputs = append(inputs, repeat("a", length))
		inputs = append(inputs, "host.example/"+repeat("a", length))
		inputs = append(inputs, "org/"+repeat("a", length-4))
		inputs = append(inputs, "host.example/"+repeat("a/", (length-1)/2)+"a")
		inputs = append(inputs, "host.example:5000/"+repeat("a", length)+":tag@"+sha256)
		inputs = append(inputs, repeat("h", length)+".example/a")
	}
	return inputs
}

func distinct(inputs []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, input := range inputs {
		if !seen[input] {
			seen[input] = true
			kept = append(kept, input)
		}
	}
	return kept
}

func main() {
	var all vectors
	for _, input := range distinct(references()) {
		all.References = append(all.References, parseReference(input))
	}
	for _, input := range distinct(digests()) {
		all.Digests = append(all.Digests, parseDigest(input))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(all); err != nil {
		panic(err)
	}
}
